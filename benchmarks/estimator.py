"""How well estimators predict effects: ours, vSTREAM's recipe, and what they compete with.

This starts ``estimator/benchmark.py``, which says more.
"""

from estimator.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
