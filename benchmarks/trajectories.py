"""Whether the path of the support predicts a wrong response early, on the reference world.

This starts ``trajectories/benchmark.py``, which says more.
"""

from trajectories.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
