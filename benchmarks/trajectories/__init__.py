"""Whether paths of support predict failure; ``benchmarks/trajectories.py`` starts it."""
