"""Load the model that a command names."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnitrace.cli.console import StatusLine
    from omnitrace.signals.base import Signal
    from omnitrace.tracer import Tracer

__all__ = ["load_tracer", "quiet_loading"]


def load_tracer(
    model: str,
    signal: str | Signal | None,
    status: StatusLine,
    *,
    device: str | None = None,
    **options: Any,
) -> Tracer:
    """Load a model, quietly, to the device of ``--device``; ``options`` are those of ``Tracer``."""
    status.show(f"loading {model}")
    quiet_loading()
    from omnitrace.models.devices import usual_device
    from omnitrace.tracer import Tracer

    if device == "auto":
        return Tracer.from_pretrained(model, signal=signal, device_map="auto", **options)
    return Tracer.from_pretrained(model, signal=signal, device=device or usual_device(), **options)


def quiet_loading() -> None:
    """Let loading a model draw no bars; call it before anything imports ``transformers``."""
    if not sys.stderr.isatty():  # read by tqdm when it is imported: no bars in log files
        os.environ.setdefault("TQDM_DISABLE", "1")
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
