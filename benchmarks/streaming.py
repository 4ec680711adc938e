"""What streaming costs while SmolLM2-135M writes: pace and latency.

This starts ``streaming/benchmark.py``, which says more.
"""

from streaming.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
