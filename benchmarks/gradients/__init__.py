"""What gradients cost while a model writes; ``benchmarks/gradients.py`` starts it."""
