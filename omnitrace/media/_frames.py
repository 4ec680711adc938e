"""The frames of a video file: when each is shown, and the pixels of some of them.

An index of timestamps is read from the packets without decoding (PyAV). The pixels come from
PyAV, or from decord where the user chose it and it is installed and exact; both give identical
arrays. decord is not asked for rotated videos, which it returns garbled, nor for those whose pixels
are not square, for open groups of pictures (x265's default) and intra refresh, where it returns
wrong frames after seeking, nor for streams whose packets may not be one frame each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.container
import av.video.frame
import av.video.stream
import numpy as np

from omnitrace.errors import MediaError
from omnitrace.media import _decord
from omnitrace.media._container import (
    DECODE_ERRORS,
    broken,
    check_decoder,
    check_end,
    open_container,
    reason,
)
from omnitrace.media._messages import Sink
from omnitrace.media._timestamps import mended
from omnitrace.media.limits import MediaLimits, check_frame_size
from omnitrace.media.source import Source

__all__ = ["FrameIndex", "FrameMismatchError", "fetch_frames", "index_by_decoding", "index_frames"]

# Codecs and containers in which one packet is one frame and decord counts like PyAV.
_DECORD_CODECS = frozenset({"h264", "hevc", "mpeg4", "vp9"})
_DECORD_CONTAINERS = ("mov,mp4", "matroska")
# Decoding a few frames further is cheaper than seeking to a key frame.
_SEEK_DISTANCE = 8
_NOMINAL_RATE = Fraction(25)


class FrameMismatchError(Exception):
    """The packets do not say which frames there are: the index must be made by decoding."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """When each frame of a video is shown.

    ``pts`` are ascending ticks of ``time_base`` seconds; ``keys`` are ``(frame, dts)`` of the key
    frames to which one can seek, empty where frames can only be counted from the beginning.
    ``matrix`` is the 2×2 display matrix (rows: image of the x axis, image of the y axis), ``size``
    the ``(width, height)`` before it is applied, with pixels made square. ``decord`` is whether the
    user chose decord, and it decodes such a video exactly.
    """

    pts: np.ndarray
    time_base: Fraction
    duration: float
    size: tuple[int, int]
    matrix: tuple[int, int, int, int]
    keys: tuple[tuple[int, int], ...]
    decord: bool

    @property
    def times(self) -> np.ndarray:
        """Seconds at which the frames begin to be shown, from the first frame's."""
        times: np.ndarray = (self.pts - self.pts[0]) * float(self.time_base)
        return times

    @property
    def origin(self) -> float:
        """The container's time of the first frame, in seconds."""
        return float(self.pts[0] * self.time_base)

    @property
    def displayed_size(self) -> tuple[int, int]:
        """``(width, height)`` after rotation."""
        width, height = self.size
        return (height, width) if self.matrix[0] == 0 else (width, height)


def index_frames(source: Source, limits: MediaLimits) -> FrameIndex:
    """Index a video from its packets, decoding only its first frame.

    Raises
    ------
    MediaError
        If it is not a video, corrupt, truncated, without frames or its pictures are too large.
    FrameMismatchError
        If packets lack timestamps.
    """
    with open_container(source, "video") as container:
        stream = _video_stream(source, container, limits)
        packets: list[tuple[int, int, int, bool]] = []
        try:
            end = 0.0
            held = key = decoded = -(1 << 62)
            leading = False  # whether a frame follows a key frame but is shown before it
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    ticks = packet.pts + (packet.duration or 0)
                    end = max(end, float(ticks * packet.time_base))
                if packet.stream_index != stream.index:
                    continue
                if packet.is_corrupt:
                    raise broken(source, "video", "corrupt or truncated data")
                if packet.is_discard:
                    continue
                if packet.size == 0:  # Theora: the frame before is shown on
                    held = max(held, (packet.pts or 0) + (packet.duration or 0))
                    continue
                if packet.pts is None:
                    raise FrameMismatchError
                dts = packet.pts if packet.dts is None else packet.dts
                if packet.dts is not None:
                    if packet.dts < decoded:  # the clock was set again
                        raise FrameMismatchError
                    decoded = packet.dts
                leading = leading or packet.pts < key
                key = max(key, packet.pts) if packet.is_keyframe else key
                packets.append((packet.pts, dts, packet.duration or 0, packet.is_keyframe))
        except DECODE_ERRORS as error:
            raise broken(source, "video", error) from error
        check_end(source, "video", container, end)
        if not packets:
            raise _no_frames(source)
        codec = stream.codec_context.name
        rate = stream.average_rate
        decord_fits = (
            limits.video_reader == "decord"
            and codec in _DECORD_CODECS
            and container.format.name.startswith(_DECORD_CONTAINERS)
        )
        time_base = stream.time_base or 1 / _NOMINAL_RATE
    packets.sort()
    decord_fits = decord_fits and not leading and packets[0][3]
    pts = np.array([packet[0] for packet in packets], np.int64)
    keys = tuple((i, packet[1]) for i, packet in enumerate(packets) if packet[3])
    if (np.diff(pts) == 0).any() or not keys:
        raise FrameMismatchError
    matrix, size, square = _probe(source, limits)
    last = max(packets[-1][2], held - packets[-1][0])
    return FrameIndex(
        pts=pts,
        time_base=time_base,
        duration=_duration(pts, time_base, last, rate),
        size=size,
        matrix=matrix,
        keys=keys,
        decord=(
            decord_fits
            and square
            and matrix == (1, 0, 0, 1)
            and (len(keys) == 1 or _starts_cleanly(source, int(pts[keys[-1][0]]), keys[-1][1]))
        ),
    )


def index_by_decoding(source: Source, limits: MediaLimits) -> FrameIndex:
    """Index a video by decoding all of it: slow, but true for every file.

    It uses no frame threads, with which FFmpeg may wait for ever in damaged files.
    """
    matrix, size, _ = _probe(source, limits)
    found: list[int | None] = []
    last, end = 0, 0.0
    with open_container(source, "video") as container:
        stream = _video_stream(source, container, limits)
        stream.thread_type = "SLICE"
        rate = stream.average_rate
        time_base = stream.time_base or 1 / _NOMINAL_RATE
        try:
            for frame in _decoded(container, stream):
                found.append(frame.pts)
                last = frame.duration or 0
                end = max(end, float(((frame.pts or 0) + last) * time_base))
        except DECODE_ERRORS as error:
            raise broken(source, "video", error) from error
        if len(container.streams) == 1:  # else another may last longer
            check_end(source, "video", container, end)
    step = last if last > 0 else 1 / (rate or _NOMINAL_RATE) / time_base
    pts, ticks = mended(found, step, time_base)
    return FrameIndex(
        pts=pts,
        time_base=ticks,
        duration=_duration(pts, ticks, round(last * time_base / ticks), rate),
        size=size,
        matrix=matrix,
        keys=(),
        decord=False,
    )


def fetch_frames(source: Source, index: FrameIndex, frames: np.ndarray, sink: Sink) -> None:
    """Decode the given frames (ascending, repeats allowed) into "frames", uint8 ``[T, H, W, 3]``.

    Parameters
    ----------
    source, index:
        The video and its frames.
    frames:
        Indices of the frames, int64 ``[T]``.
    sink:
        Where the frames go, one after the other.

    Raises
    ------
    MediaError
        If they cannot be decoded.
    FrameMismatchError
        If a frame of the index does not come out of the decoder.
    """
    width, height = index.displayed_size
    if index.decord:
        sink.begin("frames", (frames.size, height, width, 3), "uint8")
        if _decord.add_frames(source, index.times, index.size, frames, sink):
            return
    sink.begin("frames", (frames.size, height, width, 3), "uint8")
    for frame in _fetch_pyav(source, index, frames):
        sink.add(frame)


def _fetch_pyav(source: Source, index: FrameIndex, frames: np.ndarray) -> Iterator[np.ndarray]:
    keys = np.array([key[0] for key in index.keys], np.int64)
    done = -1  # the last frame that left the decoder
    last = np.empty(0, np.uint8)
    with open_container(source, "video") as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.video.stream.VideoStream)
        stream.thread_type = "SLICE"
        decoded = _decoded(container, stream)
        try:
            for row, wanted in enumerate(frames.tolist()):
                if row and wanted == frames[row - 1]:
                    yield last
                    continue
                key = int(np.searchsorted(keys, wanted, side="right")) - 1
                if key >= 0 and keys[key] > done + _SEEK_DISTANCE:
                    container.seek(index.keys[key][1], stream=stream)
                    decoded = _decoded(container, stream)
                    done = -1
                for frame in decoded:
                    if index.keys:
                        if frame.pts is None or frame.pts > index.pts[wanted]:
                            raise FrameMismatchError
                        done = wanted if frame.pts == index.pts[wanted] else done
                    else:
                        done += 1
                    if done == wanted:
                        last = _upright(frame, index)
                        yield last
                        break
                else:
                    if index.keys:
                        raise FrameMismatchError
                    raise broken(source, "video", "it changed while it was read")
        except DECODE_ERRORS as error:
            when = float(index.times[wanted])
            raise broken(source, "video", f"{reason(error)}, at about {when:.2f} s") from error


def _upright(frame: av.VideoFrame, index: FrameIndex) -> np.ndarray:
    """Return the pixels of a frame as displayed."""
    width, height = index.size
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    a, b, c, d = index.matrix
    if a == 0:
        pixels = pixels.swapaxes(0, 1)
        a, d = c, b
    return pixels[::d, ::a]


def _video_stream(
    source: Source, container: av.container.InputContainer, limits: MediaLimits
) -> av.video.stream.VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, av.video.stream.VideoStream) or (
        stream.disposition & av.stream.Disposition.attached_pic
    ):
        raise broken(source, "video", "it has no video stream")
    check_decoder(source, stream)
    context = stream.codec_context
    if context.width and context.height:
        check_frame_size(source.label, context.width, context.height, limits)
    return stream


def _decoded(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Iterator[av.VideoFrame]:
    """Decode a stream, without the empty packets that say that the frame before is shown on."""
    for packet in container.demux(stream):
        if packet.size or packet.dts is None:  # the last packet is empty, and flushes the decoder
            yield from packet.decode()


def _probe(
    source: Source, limits: MediaLimits
) -> tuple[tuple[int, int, int, int], tuple[int, int], bool]:
    """Decode the first frame for its display matrix, its size, and whether its pixels are square.

    Where they are not, the width is that of the square pixels as which it is displayed.
    """
    with open_container(source, "video") as container:
        stream = _video_stream(source, container, limits)
        try:
            frame = next(_decoded(container, stream), None)
        except DECODE_ERRORS as error:
            raise broken(source, "video", error) from error
        if frame is None:
            raise _no_frames(source)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        size = max(1, round(frame.width * aspect)), frame.height
        check_frame_size(source.label, *size, limits)
        matrix = (1, 0, 0, 1)
        turned: Any = frame.side_data.get("DISPLAYMATRIX")
        if turned is not None:
            values = np.frombuffer(bytes(turned), np.int32)
            matrix = _right_angles(source, values[[0, 1, 3, 4]] / 65536)
        return matrix, size, size == (frame.width, frame.height)


def _starts_cleanly(source: Source, pts: int, dts: int) -> bool:
    """Whether decoding can begin at a key frame; with intra refresh it only recovers from there."""
    with open_container(source, "video") as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.video.stream.VideoStream)
        try:
            container.seek(dts, stream=stream)
            frame = next(_decoded(container, stream), None)
        except DECODE_ERRORS:
            return False
        return (
            frame is not None
            and frame.pts == pts
            and not frame.is_corrupt
            and frame.pict_type == av.video.frame.PictureType.I
        )


def _right_angles(source: Source, matrix: np.ndarray) -> tuple[int, int, int, int]:
    """Reduce a display matrix to one of the eight rotations and flips by right angles."""
    signs = np.where(np.abs(matrix) > 0.01 * np.abs(matrix).max(), np.sign(matrix), 0)
    a, b, c, d = (int(sign) for sign in signs)
    if not (a == d == 0 and b * c != 0) and not (b == c == 0 and a * d != 0):
        raise MediaError(
            f"{source.label} is rotated by an angle that is not a multiple of 90°",
            legal="rotations by 0, 90, 180 and 270 degrees and flips",
            fix="re-encode it with ffmpeg, which applies the rotation",
        )
    return a, b, c, d


def _duration(pts: np.ndarray, time_base: Fraction, last: int, rate: Fraction | None) -> float:
    """Seconds from the beginning of the first frame to the end of the last."""
    if last <= 0:
        usual = np.median(np.diff(pts)) if pts.size > 1 else 1 / (rate or _NOMINAL_RATE) / time_base
        last = max(1, round(float(usual)))
    return float((int(pts[-1] - pts[0]) + last) * time_base)


def _no_frames(source: Source) -> MediaError:
    return MediaError(
        f"{source.label} has no video frames",
        legal="a video with at least one frame",
        fix="check that it was recorded and downloaded completely",
    )
