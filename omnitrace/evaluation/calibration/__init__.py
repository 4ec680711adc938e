"""Fit the threshold between "supported" and "no source" to a model."""
