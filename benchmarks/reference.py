"""How well attributions name the evidence on the reference world, where it is known.

This starts ``reference/benchmark.py``, which says more.
"""

from reference.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
