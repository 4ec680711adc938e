"""How well attributions name known evidence; ``benchmarks/reference.py`` starts it."""
