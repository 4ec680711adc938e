"""Source units: what can be cited, and which prompt tokens carry it."""
