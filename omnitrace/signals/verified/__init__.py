"""Supports that are verified by ablation: see :mod:`omnitrace.signals.verified.signal`."""
