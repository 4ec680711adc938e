"""The original audio and video files in a report, and why one is not there."""

from __future__ import annotations

import base64
from typing import Final

from omnitrace.errors import OmnitraceError
from omnitrace.types import MediaRecord

__all__ = ["embedded_view"]

_NOT_ASKED: Final = "The {0} cannot be played here: the report was written without the media files."
_NOT_KEPT: Final = "The {0} cannot be played here: the trace was saved without its media files."
_GONE: Final = "The {0} cannot be played here: its file is gone or has changed."


def embedded_view(record: MediaRecord, wanted: bool) -> dict[str, str]:
    """Return the file of a medium in base64 as ``file``, or as ``absent`` why it is not there."""
    if not wanted:
        return {"absent": _NOT_ASKED.format(record.modality)}
    if record.read is None:
        return {"absent": _NOT_KEPT.format(record.modality)}
    try:
        data = record.read()
    except (OSError, OmnitraceError):
        return {"absent": _GONE.format(record.modality)}
    return {"file": base64.b64encode(data).decode("ascii")}
