"""How large a medium may be, and the checks that several media share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from omnitrace.errors import InputError, MediaError

__all__ = ["DEFAULT_LIMITS", "MediaLimits", "check_frame_size"]


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Limits that are checked before anything large is decoded or allocated.

    Parameters
    ----------
    max_bytes:
        Size of a medium as passed (a file, bytes, a decoded ``data:`` URL).
    max_image_pixels:
        Width times height of an image or of one video frame.
    max_aspect_ratio:
        Longer side over shorter side; Qwen's processors refuse more.
    max_audio_seconds, max_video_seconds:
        Duration of an audio (also of a video's audio track) and of a video.
    max_video_frames:
        Number of frames sampled from one video.
    max_video_bytes:
        Memory of the sampled frames of one video.
    """

    max_bytes: int = 2 * 1024**3
    max_image_pixels: int = 100_000_000
    max_aspect_ratio: float = 200.0
    max_audio_seconds: float = 3600.0
    max_video_seconds: float = 3600.0
    max_video_frames: int = 768
    max_video_bytes: int = 8 * 1024**3

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise InputError(
                    f"the media limit {field.name} is {value!r}",
                    legal="a positive number",
                    fix=f"leave {field.name} out to use {field.default!r}",
                )


DEFAULT_LIMITS = MediaLimits()


def check_frame_size(label: str, width: int, height: int, limits: MediaLimits) -> None:
    """Refuse a picture with no pixels, too many pixels or an extreme aspect ratio."""
    if width < 1 or height < 1:
        raise MediaError(
            f"{label} has no pixels ({width}x{height})",
            legal="at least 1x1",
            fix="pass a picture that has content",
        )
    if width * height > limits.max_image_pixels:
        raise MediaError(
            f"{label} has {width}x{height} = {width * height} pixels",
            legal=f"at most {limits.max_image_pixels} pixels",
            fix="make it smaller, or raise MediaLimits(max_image_pixels=…) if you trust it",
        )
    ratio = max(width, height) / min(width, height)
    if ratio > limits.max_aspect_ratio:
        raise MediaError(
            f"{label} is {width}x{height}, an aspect ratio of {ratio:.0f}",
            legal=f"an aspect ratio of at most {limits.max_aspect_ratio:g}",
            fix="crop it, or pad its shorter side",
        )
