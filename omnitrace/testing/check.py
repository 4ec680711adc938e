"""Hold a signal or an adapter to all of its promises, with or without pytest."""

from __future__ import annotations

from typing import Any

from omnitrace.models.base import ModelAdapter
from omnitrace.signals.base import LiveSpanSignal, TokenSignal
from omnitrace.testing.adapters import ADAPTER_PROMISES, AdapterBench
from omnitrace.testing.contract import check_all
from omnitrace.testing.harness import SignalBench
from omnitrace.testing.live import LIVE_PROMISES
from omnitrace.testing.spans import SPAN_PROMISES
from omnitrace.testing.tokens import TOKEN_PROMISES
from omnitrace.types import Modality

__all__ = ["check_adapter", "check_signal"]


def check_signal(signal: Any) -> None:
    """Hold a signal of any of the three kinds to its promises, on the reference model.

    Parameters
    ----------
    signal:
        The name of a registered signal, a signal, or a signal class.

    Raises
    ------
    ConformanceError
        At the first promise that is broken.
    PluginError
        If there is no such signal, or it cannot be made.
    """
    bench = SignalBench(signal)
    if isinstance(bench.signal, TokenSignal):
        check_all(TOKEN_PROMISES, bench)
    elif isinstance(bench.signal, LiveSpanSignal):
        check_all(LIVE_PROMISES, bench)
    else:
        check_all(SPAN_PROMISES, bench)


def check_adapter(adapter: ModelAdapter, modalities: tuple[Modality, ...] = ("text",)) -> None:
    """Hold an adapter to its promises, with whatever model it carries.

    Parameters
    ----------
    adapter:
        An adapter with a model and its processor; a tiny untrained model will do.
    modalities:
        What the model takes.

    Raises
    ------
    ConformanceError
        At the first promise that is broken.
    """
    check_all(ADAPTER_PROMISES, AdapterBench(adapter, modalities))
