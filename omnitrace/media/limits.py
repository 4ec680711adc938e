"""How large a medium may be and how it is decoded, and the checks that several media share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal, get_args

from omnitrace.errors import InputError, MediaError

__all__ = ["DEFAULT_LIMITS", "MediaLimits", "VideoReader", "check_frame_size", "check_image_file"]

VideoReader = Literal["pyav", "decord"]
_CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "isolate": (True, False),
    "video_reader": get_args(VideoReader),
}


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """How large a medium may be, and how it is decoded.

    Sizes and durations are checked before anything large is decoded or allocated.

    Parameters
    ----------
    max_bytes:
        Size of a medium as passed (a file, bytes, a decoded ``data:`` URL).
    max_image_pixels:
        Width times height of an image or of one video frame.
    max_image_bytes:
        Size of an image, both of its file and of its decoded pixels, of 3 bytes each.
    max_aspect_ratio:
        Longer side over shorter side; Qwen's processors refuse more.
    max_audio_seconds, max_video_seconds:
        Duration of an audio (also of a video's audio track) and of a video.
    max_audio_bytes:
        Size of an audio's samples as decoded: at its own rate, mixed to mono, of 4 bytes each.
    max_video_frames:
        Number of frames sampled from one video.
    max_video_bytes:
        Memory of the sampled frames of one video.
    isolate:
        Whether files and bytes are decoded in a worker process, which is kept between media: a
        damaged file that kills its decoder, or never lets it return, is then a
        :class:`~omnitrace.errors.MediaError`. False decodes them here, for files that you trust:
        to the same pixels and samples, and without the two limits below.
    max_decode_seconds:
        How long the worker process may take for a medium, beside one second for each megabyte
        that the medium has.
    max_worker_bytes:
        Memory that the worker process may take for a medium, beside the medium itself; only
        Linux holds it to that.
    video_reader:
        What decodes videos. "decord" gives the same pixels; where it cannot, or is not installed,
        PyAV decodes all the same.
    """

    max_bytes: int = 2 * 1024**3
    max_image_pixels: int = 100_000_000
    max_image_bytes: int = 192 * 1024**2
    max_aspect_ratio: float = 200.0
    max_audio_seconds: float = 3600.0
    max_audio_bytes: int = 2 * 1024**3
    max_video_seconds: float = 3600.0
    max_video_frames: int = 768
    max_video_bytes: int = 8 * 1024**3
    isolate: bool = True
    max_decode_seconds: float = 120.0
    max_worker_bytes: int = 2 * 1024**3
    video_reader: VideoReader = "pyav"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            legal = _CHOICES.get(field.name)
            if legal is None and value > 0:
                continue
            if legal is None or value not in legal:
                raise InputError(
                    f"the media limit {field.name} is {value!r}",
                    legal="a positive number" if legal is None else ", ".join(map(repr, legal)),
                    fix=f"leave {field.name} out to use {field.default!r}",
                )

    def seconds_for(self, size: int) -> float:
        """Return how long the worker process may take for a medium of ``size`` bytes."""
        return self.max_decode_seconds + size / 1e6


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
    if 3 * width * height > limits.max_image_bytes:
        raise MediaError(
            f"{label} has {width}x{height} pixels, {3 * width * height} bytes when decoded",
            legal=f"at most {limits.max_image_bytes} bytes",
            fix="make it smaller, or raise MediaLimits(max_image_bytes=…) if you trust it",
        )
    ratio = max(width, height) / min(width, height)
    if ratio > limits.max_aspect_ratio:
        raise MediaError(
            f"{label} is {width}x{height}, an aspect ratio of {ratio:.0f}",
            legal=f"an aspect ratio of at most {limits.max_aspect_ratio:g}",
            fix="crop it, or pad its shorter side",
        )


def check_image_file(label: str, size: int, limits: MediaLimits) -> None:
    """Refuse the file of an image that would be too large in memory, before it is read."""
    if size > limits.max_image_bytes:
        raise MediaError(
            f"{label} has {size} bytes",
            legal=f"an image of at most {limits.max_image_bytes} bytes",
            fix="make it smaller, or raise MediaLimits(max_image_bytes=…)",
        )
