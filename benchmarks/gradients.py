"""What gradients cost while SmolLM2-135M decodes: ``grad-sam`` beside untraced, and full passes.

This starts ``gradients/benchmark.py``, which says more.
"""

from gradients.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
