"""Whether the path of the support tells early that an answer will be wrong, on the reference world.

This starts ``trajectories/benchmark.py``, which says more.
"""

from trajectories.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
