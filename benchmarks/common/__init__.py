"""What several benchmarks share: options and results, models, examples, methods, workers."""

import os

# Before anything that could be imported from here loads a Hugging Face library.
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here may reach for the network
os.environ.setdefault("TQDM_DISABLE", "1")
