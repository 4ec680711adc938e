"""Metrics of agreement with labels and of measured effects."""
