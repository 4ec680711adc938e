"""Check all requirements of a signal, an adapter or a unitizer, with or without pytest."""

from __future__ import annotations

from typing import Any

from omnitrace.models.base import ModelAdapter
from omnitrace.signals.base import LiveSpanSignal, TokenSignal
from omnitrace.sources.unitizers.base import Unitizer
from omnitrace.testing.adapters import ADAPTER_REQUIREMENTS, AdapterHarness
from omnitrace.testing.contract import check_all
from omnitrace.testing.harness import SignalHarness
from omnitrace.testing.live import LIVE_REQUIREMENTS
from omnitrace.testing.spans import SPAN_REQUIREMENTS
from omnitrace.testing.tokens import TOKEN_REQUIREMENTS
from omnitrace.testing.unitizers import UNITIZER_REQUIREMENTS, UnitizerHarness
from omnitrace.types import Modality

__all__ = ["check_adapter", "check_signal", "check_unitizer"]


def check_signal(signal: Any) -> None:
    """Check the requirements of a signal of any of the three kinds, on the reference model.

    Parameters
    ----------
    signal:
        The name of a registered signal, a signal, or a signal class.

    Raises
    ------
    ConformanceError
        At the first requirement that is broken.
    PluginError
        If there is no such signal, or it cannot be made.
    """
    harness = SignalHarness(signal)
    if isinstance(harness.signal, TokenSignal):
        check_all(TOKEN_REQUIREMENTS, harness)
    elif isinstance(harness.signal, LiveSpanSignal):
        check_all(LIVE_REQUIREMENTS, harness)
    else:
        check_all(SPAN_REQUIREMENTS, harness)


def check_adapter(adapter: ModelAdapter, modalities: tuple[Modality, ...] = ("text",)) -> None:
    """Check the requirements of an adapter, with whatever model it carries.

    Parameters
    ----------
    adapter:
        An adapter with a model and its processor; a tiny untrained model will do.
    modalities:
        What the model takes.

    Raises
    ------
    ConformanceError
        At the first requirement that is broken.
    """
    check_all(ADAPTER_REQUIREMENTS, AdapterHarness(adapter, modalities))


def check_unitizer(unitizer: str | Unitizer) -> None:
    """Check the requirements of a unitizer, on small images, or audio and video.

    Parameters
    ----------
    unitizer:
        The name of a registered unitizer, with or without parameters, or a unitizer.

    Raises
    ------
    ConformanceError
        At the first requirement that is broken.
    """
    check_all(UNITIZER_REQUIREMENTS, UnitizerHarness(unitizer))
