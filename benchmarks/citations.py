"""Whether citations name the right document, or none: ours, and those of other packages.

This starts ``citations/benchmark.py``, which says more.
"""

from citations.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
