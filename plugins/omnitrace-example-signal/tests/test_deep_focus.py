"""The example signal keeps every promise of a token signal."""

from __future__ import annotations

from omnitrace.testing import SignalConformance


class TestDeepFocus(SignalConformance):
    """One test for each promise."""

    signal = "deep-focus"
