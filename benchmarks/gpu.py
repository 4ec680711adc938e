"""What tracing costs at real size on a GPU: time and memory of every way to trace.

This starts ``gpu/benchmark.py``, which says more. ``--tiny`` runs small models on the CPU.
"""

from gpu.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
