"""Signals: what scores the context for each generated token or span."""
