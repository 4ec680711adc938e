"""Load the model that a command names."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from omnitrace.cli.console import StatusLine
    from omnitrace.media import MediaLimits
    from omnitrace.models.base import ModelAdapter
    from omnitrace.signals.base import Signal
    from omnitrace.tracer import Tracer

#: Whether ``--trust-remote-code`` stands before the command.
TRUSTS_CODE: Final[ContextVar[bool]] = ContextVar("trusts_code", default=False)
#: Whether ``--trust-media`` does.
TRUSTS_MEDIA: Final[ContextVar[bool]] = ContextVar("trusts_media", default=False)

#: As ``omnitrace.media`` has it, which is not imported for a help text.
VideoReader: TypeAlias = Literal["pyav", "decord"]
#: What ``--video-reader`` names.
VIDEO_READER: Final[ContextVar[VideoReader]] = ContextVar("video_reader", default="pyav")

__all__ = [
    "TRUSTS_CODE",
    "TRUSTS_MEDIA",
    "VIDEO_READER",
    "VideoReader",
    "load_model",
    "load_tracer",
    "media_limits",
    "quiet_loading",
    "tracer_loader",
]


def load_tracer(
    model: str,
    signal: str | Signal | None,
    status: StatusLine | None = None,
    *,
    device: str | None = None,
    **options: Any,
) -> Tracer:
    """Load a model, quietly, to the device of ``--device``; ``options`` are those of ``Tracer``."""
    if status is not None:
        status.show(f"loading {model}")
    quiet_loading()
    from omnitrace.tracer import Tracer

    options.setdefault("limits", media_limits())
    return Tracer.from_pretrained(model, signal=signal, **(_placed(device) | options))


def tracer_loader(
    model: str, signal: str | Signal | None, *, device: str | None = None, **options: Any
) -> Callable[..., Tracer]:
    """Return :func:`load_tracer` with these arguments; it can be sent to another process."""
    return functools.partial(
        load_tracer,
        model,
        signal,
        device=device,
        limits=media_limits(),
        trust_remote_code=TRUSTS_CODE.get(),
        **options,
    )


def load_model(model: str, status: StatusLine, *, device: str | None = None) -> ModelAdapter:
    """Load a model as :func:`load_tracer` does, without trying whether it can be traced."""
    status.show(f"loading {model}")
    quiet_loading()
    from omnitrace.models.base import LoadOptions
    from omnitrace.models.loading import load_adapter

    return load_adapter(model, LoadOptions(**_placed(device)))


def media_limits() -> MediaLimits:
    """Return how media are decoded, by ``--trust-media`` and ``--video-reader``."""
    from omnitrace.media import MediaLimits

    return MediaLimits(isolate=not TRUSTS_MEDIA.get(), video_reader=VIDEO_READER.get())


def quiet_loading() -> None:
    """Let nothing that loads a model show a bar of its own."""
    if not sys.stderr.isatty():  # read by tqdm when it is imported: no bars in log files
        os.environ.setdefault("TQDM_DISABLE", "1")
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]


def _placed(device: str | None) -> dict[str, Any]:
    """Return the options of loading for ``--device`` and ``--trust-remote-code``."""
    from omnitrace.models.devices import usual_device

    trusted = {"trust_remote_code": True} if TRUSTS_CODE.get() else {}
    if device == "auto":
        return {"device_map": "auto", **trusted}
    return {"device": usual_device() if device is None else device, **trusted}
