"""Small previews of media, for traces and reports."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image

from omnitrace.media.audio import LoadedAudio
from omnitrace.media.image import LoadedImage
from omnitrace.media.video import LoadedVideo

__all__ = ["image_preview", "video_previews", "waveform"]

_JPEG_QUALITY = 85


def image_preview(img: LoadedImage | PIL.Image.Image, max_side: int = 320) -> bytes:
    """Encode an RGB image as JPEG, shrunk so that its longer side is at most ``max_side``."""
    small = (img.pixels if isinstance(img, LoadedImage) else img).copy()
    small.thumbnail((max_side, max_side), reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def video_previews(
    video: LoadedVideo, count: int = 12, max_side: int = 160
) -> tuple[tuple[bytes, ...], tuple[float, ...]]:
    """Encode up to ``count`` sampled frames, evenly spread, and return them with their times."""
    total = len(video.frames)
    picks = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    jpegs = tuple(image_preview(PIL.Image.fromarray(video.frames[i]), max_side) for i in picks)
    return jpegs, tuple(float(video.times[i]) for i in picks)


def waveform(audio: LoadedAudio, bins: int = 400) -> tuple[float, ...]:
    """Return the peak of each of up to ``bins`` equal parts, in [0, 1].

    Full scale is 1; audio that exceeds it is scaled down by its highest peak.
    """
    levels = np.abs(audio.samples)
    starts = np.linspace(0, levels.size, min(bins, levels.size), endpoint=False).astype(np.int64)
    peaks = np.maximum.reduceat(levels, starts).astype(np.float64)
    return tuple((peaks / max(1.0, float(peaks.max()))).tolist())
