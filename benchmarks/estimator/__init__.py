"""How well estimators predict effects; ``benchmarks/estimator.py`` starts it."""
