"""The files of ``gpu.py``; ``benchmark.py`` is where to begin."""
