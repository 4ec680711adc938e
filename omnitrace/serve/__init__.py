"""A server that shows the evidence while the model writes."""
