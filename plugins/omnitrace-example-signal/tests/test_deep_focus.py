"""The example signal keeps the contract of a token signal."""

from __future__ import annotations

from omnitrace.testing import SignalConformance


class TestDeepFocus(SignalConformance):
    """One test for each requirement."""

    signal = "deep-focus"
