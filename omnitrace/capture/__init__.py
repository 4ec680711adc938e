"""Capture: read attention rows and gradients from a model without changing what it computes."""
