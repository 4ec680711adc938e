"""Video: frames sampled from a file or an array, with their true times, and the audio track."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image

from omnitrace.errors import MediaError
from omnitrace.media._container import decode_audio
from omnitrace.media._frames import (
    FrameIndex,
    FrameMismatchError,
    fetch_frames,
    index_by_decoding,
    index_frames,
)
from omnitrace.media._messages import Collected, Sink
from omnitrace.media._worker import WORKER
from omnitrace.media.audio import LoadedAudio
from omnitrace.media.clip import WHOLE, Clip
from omnitrace.media.image import load_image
from omnitrace.media.limits import DEFAULT_LIMITS, MediaLimits, check_frame_size
from omnitrace.media.source import MediaSource, Source, resolve_source

__all__ = ["LoadedVideo", "VideoFrames", "decode_into", "load_video"]

VideoFrames: TypeAlias = np.ndarray | list[PIL.Image.Image]

_LEGAL = (
    "a path, bytes, a data: URL, a file:// URL, or frames (a numpy array [T,H,W,3] of uint8, or a "
    "list of PIL images), alone or as (frames, rate)"
)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedVideo:
    r"""Sampled frames of a video.

    ``frames`` is uint8 ``[T, H, W, 3]``, upright. ``times`` is float64 ``[T]``: the seconds at
    which each frame begins to be shown, relative to the beginning of the video's first frame (as
    decord's start times). ``frame_indices`` is int64 ``[T]``: the frames' indices in the file, in
    the order of display. Frame ``k`` is the one nearest to ``k / fps``, so a frame of a
    variable-rate file may occur twice. ``fps`` is the rate of those instants, to be passed to
    the processor: what was asked for, or the file's average rate where that is lower.

    ``duration`` is that of the whole video stream. Where only a part was asked for, ``seconds`` are
    those of the file that were read, and all times are still those of the file; else ``None``.
    ``audio`` shares the video's clock: its sample 0 is at the beginning of the first frame, or
    where the part begins. It is ``None`` without an audio track. ``sha256``
    is of the original bytes; for frames there are none, and it is of the ASCII header
    ``RGB <frames>x<height>x<width> <rate>\n`` followed by all the pixels that were passed.
    ``source`` is what the user passed, ``None`` for frames.
    """

    frames: np.ndarray
    times: np.ndarray
    frame_indices: np.ndarray
    fps: float
    duration: float
    sha256: str
    name: str
    audio: LoadedAudio | None = None
    source: Source | None = None
    seconds: tuple[float, float] | None = None

    @property
    def start(self) -> float:
        """Where in the file that begins which was read, in seconds."""
        return 0.0 if self.seconds is None else self.seconds[0]

    @property
    def end(self) -> float:
        """Where in the file that ends which was read, in seconds."""
        return self.duration if self.seconds is None else self.seconds[1]

    @property
    def width(self) -> int:
        """Width in displayed pixels."""
        return int(self.frames.shape[2])

    @property
    def height(self) -> int:
        """Height in displayed pixels."""
        return int(self.frames.shape[1])

    @property
    def path(self) -> Path | None:
        """The file, if there is one."""
        return self.source.path if self.source is not None else None


def load_video(
    source: MediaSource | VideoFrames | tuple[VideoFrames, float],
    *,
    fps: float = 2.0,
    limits: MediaLimits = DEFAULT_LIMITS,
    media_root: str | os.PathLike[str] | None = None,
    with_audio: bool = True,
    clip: Clip = WHOLE,
) -> LoadedVideo:
    """Sample the frames nearest to the instants ``k / fps`` in ``[0, duration)``.

    Rotations and flips in the file's metadata are applied, and pixels that are not square (as those
    of many discs and broadcasts) are made so by scaling the width, as players do.

    Parameters
    ----------
    source:
        A path, bytes, a ``data:`` or ``file://`` URL of MP4, MOV, WebM, MKV, AVI and others; or
        frames ``[T,H,W,3]`` of uint8 or a list of PIL images, as ``(frames, rate)`` with their
        own rate; bare frames are taken to be sampled at ``fps`` already.
    fps:
        Frames per second to sample.
    limits:
        Durations and sizes are checked before the frames are decoded.
    media_root:
        The folder against which relative paths are resolved.
    with_audio:
        Whether to decode the audio track.
    clip:
        The seconds to read, and how many frames; the instants then begin at the part's start.

    Raises
    ------
    MediaError
        If it is missing, not a video, corrupt, truncated, empty or over a limit.
    """
    _check_rate("fps", fps)
    if isinstance(source, np.ndarray | list):
        return _from_frames(source, float(fps), float(fps), limits, clip)
    if isinstance(source, tuple):
        if len(source) != 2:
            raise _bad_frames(f"a tuple of {len(source)} elements")
        frames, rate = source
        _check_rate("the rate of the frames", rate)
        return _from_frames(frames, float(rate), float(fps), limits, clip)
    resolved = resolve_source(source, limits=limits, media_root=media_root, legal=_LEGAL)
    asked: dict[str, Any] = {
        "fps": float(fps),
        "with_audio": with_audio,
        "clip": dataclasses.asdict(clip),
    }
    if limits.isolate:
        values, arrays = WORKER.decode("video", resolved, limits, **asked)
    else:
        collected = Collected()
        values = decode_into(resolved, limits, collected, **asked)
        arrays = collected.arrays
    digest = resolved.sha256()
    seconds = None if values["seconds"] is None else tuple(values["seconds"])
    audio = None
    if "samples" in arrays:
        start = 0.0 if seconds is None else seconds[0]
        audio = LoadedAudio(arrays["samples"], digest, resolved.name, start=start)
    return LoadedVideo(
        frames=arrays["frames"],
        times=arrays["times"],
        frame_indices=arrays["indices"],
        fps=values["fps"],
        duration=values["duration"],
        sha256=digest,
        name=resolved.name,
        audio=audio,
        source=resolved,
        seconds=seconds,
    )


def decode_into(
    source: Source,
    limits: MediaLimits,
    sink: Sink,
    *,
    fps: float,
    with_audio: bool,
    clip: Mapping[str, Any],
) -> dict[str, Any]:
    """Decode a video file, here or in the worker process.

    Parameters
    ----------
    source, limits, sink:
        What is decoded, how far, and where it goes: the arrays "frames", "times" and "indices" as
        in :class:`LoadedVideo`, and "samples" if there is sound.
    fps, with_audio, clip:
        As for :func:`load_video`; the clip by the names of its fields.

    Returns
    -------
    dict
        "fps", "duration" and "seconds" as in :class:`LoadedVideo`.
    """
    part = Clip(**clip)
    try:
        index = index_frames(source, limits)
        sampled = _fetch(source, index, fps, limits, part, sink)
    except FrameMismatchError:
        index = index_by_decoding(source, limits)
        sampled = _fetch(source, index, fps, limits, part, sink)
    samples = None
    if with_audio:
        samples = _audio_track(source, index.origin, limits, sampled.seconds)
    times = index.times[sampled.indices]
    for name, array in (("times", times), ("indices", sampled.indices), ("samples", samples)):
        if array is not None:
            sink.begin(name, array.shape, array.dtype.name)
            sink.add(array)
    return {"fps": sampled.rate, "duration": index.duration, "seconds": sampled.seconds}


@dataclass(frozen=True, slots=True)
class _Sampled:
    """Indices of frames, their rate, and the seconds that were asked for, ``None`` for all."""

    indices: np.ndarray
    rate: float
    seconds: tuple[float, float] | None


def _fetch(
    source: Source, index: FrameIndex, fps: float, limits: MediaLimits, clip: Clip, sink: Sink
) -> _Sampled:
    """Choose the frames and decode them."""
    sampled = _sample(source.label, index.times, index.duration, fps, limits, clip)
    _check_memory(source.label, len(sampled.indices), index.size, limits)
    fetch_frames(source, index, sampled.indices, sink)
    return sampled


def _audio_track(
    source: Source, origin: float, limits: MediaLimits, seconds: tuple[float, float] | None
) -> np.ndarray | None:
    start, end = seconds or (0.0, None)
    try:
        decoded = decode_audio(
            source, limits, origin=origin + start, seconds=None if end is None else end - start
        )
        return None if decoded is None or decoded.length == 0 else decoded.result()
    except MediaError as error:
        raise MediaError(
            f"the audio track: {error.found}",
            legal=error.legal,
            fix=f"{error.fix}; or leave the sound out with with_audio=False",
        ) from error


def _sample(
    label: str, times: np.ndarray, duration: float, fps: float, limits: MediaLimits, clip: Clip
) -> _Sampled:
    """Choose the frames nearest to ``start + k / rate``."""
    start, end = clip.within(label, duration)
    seconds = end - start
    if seconds > limits.max_video_seconds:
        raise MediaError(
            f"{label} lasts {seconds:.1f} s",
            legal=f"at most {limits.max_video_seconds:g} s",
            fix="cut it, or raise MediaLimits(max_video_seconds=…)",
        )
    first, last = clip.shown(times, start, end)
    times = times[first:last]
    rate = clip.rate(label, float(fps), seconds, times.size)
    count = max(1, math.ceil(seconds * rate - 1e-6))
    if count > limits.max_video_frames:
        raise MediaError(
            f"{label} lasts {seconds:.1f} s, which at fps={rate:g} is {count} frames",
            legal=f"at most {limits.max_video_frames} frames",
            fix=f"choose fps={_lower_rate(limits.max_video_frames / seconds)} or less, or raise "
            "MediaLimits(max_video_frames=…)",
        )
    instants = start + np.arange(count) / rate
    right = np.searchsorted(times, instants).clip(0, times.size - 1)
    left = (right - 1).clip(0)
    # The nanosecond makes ties go to the earlier frame whatever the rounding.
    nearer_left = instants - times[left] <= times[right] - instants + 1e-9
    indices = first + np.where(nearer_left, left, right).astype(np.int64)
    return _Sampled(indices, rate, (start, end) if clip.cuts else None)


def _lower_rate(rate: float) -> str:
    """Write a rate with 3 digits, rounded down."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 2)
    return f"{math.floor(rate / step) * step:.3g}"


def _check_memory(label: str, count: int, size: tuple[int, int], limits: MediaLimits) -> None:
    needed = count * size[0] * size[1] * 3
    if needed > limits.max_video_bytes:
        raise MediaError(
            f"the {count} sampled frames of {label} ({size[0]}x{size[1]}) need {needed} bytes",
            legal=f"at most {limits.max_video_bytes} bytes",
            fix="choose a lower fps, scale the video down, or raise MediaLimits(max_video_bytes=…)",
        )


def _check_rate(what: str, value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not (0 < float(value) < math.inf)
    ):
        raise MediaError(
            f"{what} is {value!r}",
            legal="a positive, finite number of frames per second",
            fix="pass for example fps=2.0",
        )


def _bad_frames(what: str) -> MediaError:
    return MediaError(
        f"{what} cannot be used as a video",
        legal="frames [T,H,W,3] of uint8 or a list of PIL images of one size, alone or as "
        "(frames, rate)",
        fix="stack the frames with numpy.stack, channels last, values 0..255",
    )


def _from_frames(
    frames: Any, rate: float, fps: float, limits: MediaLimits, clip: Clip
) -> LoadedVideo:
    if isinstance(frames, list):
        if not all(isinstance(frame, PIL.Image.Image) for frame in frames):
            raise _bad_frames("a list of something else than PIL images")
        if len({frame.size for frame in frames}) > 1:
            raise _bad_frames("a list of PIL images of different sizes")
        size = frames[0].size if frames else (0, 0)
    elif isinstance(frames, np.ndarray):
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            shape = "x".join(map(str, frames.shape))
            raise _bad_frames(f"an array of shape {shape or '()'} and dtype {frames.dtype}")
        size = (frames.shape[2], frames.shape[1])
    else:
        raise _bad_frames(f"a {type(frames).__name__}")
    total = len(frames)
    if total == 0:
        raise _bad_frames("a list or array of no frames")
    check_frame_size("the video frames", size[0], size[1], limits)
    duration = total / rate
    sampled = _sample("the video", np.arange(total) / rate, duration, fps, limits, clip)
    _check_memory("the video", len(sampled.indices), size, limits)
    if isinstance(frames, list):
        frames = np.stack([np.asarray(load_image(frame, limits=limits).pixels) for frame in frames])
    header = f"RGB {total}x{frames.shape[1]}x{frames.shape[2]} {rate!r}\n"
    digest = hashlib.sha256(header.encode())
    digest.update(np.ascontiguousarray(frames).data)
    return LoadedVideo(
        frames=frames[sampled.indices],
        times=sampled.indices / rate,
        frame_indices=sampled.indices,
        fps=sampled.rate,
        duration=duration,
        sha256=digest.hexdigest(),
        name="<frames>",
        seconds=sampled.seconds,
    )
