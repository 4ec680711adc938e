"""Captum's attribution methods as span signals; Captum is imported when one of them runs."""
