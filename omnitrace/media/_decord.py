"""Frames of a video by decord, where a user chose it.

It decodes with an FFmpeg of its own, which ends the process on some damaged files.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

import numpy as np

from omnitrace.media._messages import Sink
from omnitrace.media.source import Source

__all__ = ["add_frames"]

# Frames that are decoded at once.
_BATCH: Final = 16
# How far its times may be from ours, in seconds: it keeps milliseconds.
_TIME_SLACK: Final = 2e-3


def add_frames(
    source: Source, times: np.ndarray, size: tuple[int, int], frames: np.ndarray, sink: Sink
) -> bool:
    """Decode frames into the array that was begun.

    Parameters
    ----------
    source:
        The video.
    times, size:
        When each of its frames is shown, in seconds, and their ``(width, height)``.
    frames:
        Indices of the frames that are wanted, ascending, int64 ``[T]``.
    sink:
        Where they go.

    Returns
    -------
    bool
        False where decord is not installed, fails, or does not see the same frames as PyAV.
    """
    module = _import_decord()
    if module is None:
        return False
    try:
        reader = module.VideoReader(source.reader(), num_threads=1)
        if len(reader) != times.size:
            return False
        starts = np.asarray(reader.get_frame_timestamp(np.arange(times.size)))[:, 0]
        if np.abs(starts - times).max() > _TIME_SLACK:
            return False
        for start in range(0, frames.size, _BATCH):
            batch: Any = reader.get_batch(frames[start : start + _BATCH])
            # A user may have set decord's bridge, which turns batches into torch tensors.
            pixels = batch.asnumpy() if hasattr(batch, "asnumpy") else np.asarray(batch)
            if pixels.shape[1:] != (size[1], size[0], 3):
                return False
            sink.add(pixels)
    except Exception:  # PyAV decodes it again, and says what is wrong
        return False
    return True


def _import_decord() -> ModuleType | None:
    try:
        import decord
    except (ImportError, OSError):  # no wheel for this platform, or it lacks a system library
        return None
    return decord  # type: ignore[no-any-return]
