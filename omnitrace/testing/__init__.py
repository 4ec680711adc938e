"""The conformance kit: proof that a signal or an adapter keeps its contract.

.. code-block:: python

    from omnitrace.testing import SignalConformance

    class TestMySignal(SignalConformance):
        signal = "my-signal"

gives one test for each requirement. Without pytest, ``check_signal("my-signal")``,
``check_adapter(adapter)`` and ``check_unitizer("my-unitizer")`` do the same, and raise
:class:`ConformanceError`, which names the requirement, at the first violation. Pytest imports this
package at every start, for its plugin, so that all names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.errors import ConformanceError
    from omnitrace.testing.check import check_adapter, check_signal, check_unitizer
    from omnitrace.testing.suites import (
        AdapterConformance,
        LiveSpanSignalConformance,
        SignalConformance,
        SpanSignalConformance,
        UnitizerConformance,
    )

__all__ = [
    "AdapterConformance",
    "ConformanceError",
    "LiveSpanSignalConformance",
    "SignalConformance",
    "SpanSignalConformance",
    "UnitizerConformance",
    "check_adapter",
    "check_signal",
    "check_unitizer",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.errors": ["ConformanceError"],
        "omnitrace.testing.check": ["check_adapter", "check_signal", "check_unitizer"],
        "omnitrace.testing.suites": [
            "AdapterConformance",
            "LiveSpanSignalConformance",
            "SignalConformance",
            "SpanSignalConformance",
            "UnitizerConformance",
        ],
    },
)
