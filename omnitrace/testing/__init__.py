"""The conformance kit: proof that a signal or an adapter keeps what its protocol promises.

.. code-block:: python

    from omnitrace.testing import SignalConformance

    class TestMySignal(SignalConformance):
        signal = "my-signal"

gives one test for each promise. Without pytest, ``check_signal("my-signal")`` and
``check_adapter(adapter)`` do the same, and raise :class:`ConformanceError`, which names the
promise, at the first that is broken.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from omnitrace.errors import ConformanceError

if TYPE_CHECKING:
    from omnitrace.testing.check import check_adapter, check_signal
    from omnitrace.testing.suites import (
        AdapterConformance,
        LiveSpanSignalConformance,
        SignalConformance,
        SpanSignalConformance,
    )

__all__ = [
    "AdapterConformance",
    "ConformanceError",
    "LiveSpanSignalConformance",
    "SignalConformance",
    "SpanSignalConformance",
    "check_adapter",
    "check_signal",
]

# Loaded on first use: pytest imports this package at every start, for its plugin.
_LAZY = {
    "AdapterConformance": "suites",
    "LiveSpanSignalConformance": "suites",
    "SignalConformance": "suites",
    "SpanSignalConformance": "suites",
    "check_adapter": "check",
    "check_signal": "check",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
