"""Opening containers and decoding audio streams with PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av
import av.container
import numpy as np

from omnitrace.errors import MediaError
from omnitrace.media._mixdown import channel_weights, mix
from omnitrace.media._model_rate import SAMPLE_RATE, ModelRate
from omnitrace.media.limits import MediaLimits
from omnitrace.media.source import Source

__all__ = [
    "DECODE_ERRORS",
    "broken",
    "check_decoder",
    "check_end",
    "decode_audio",
    "open_container",
    "reason",
]

# What PyAV raises on bad bytes: FFmpegError, and Python errors for odd values inside the file.
DECODE_ERRORS = (av.FFmpegError, ValueError, TypeError, IndexError, OverflowError, EOFError)

# Containers of audio and video. Playlists (hls, concat, dash) would open other files and URLs,
# and libavformat takes pictures and even plain text (tty) for videos.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,gif,mp3,aac,wav,w64,flac,aiff,"
    "caf,amr,ac3,eac3,au,wv,tta,ape,h264,hevc,m4v,ivf,obu,av1,mxf,nut,rm,dv,3gp"
)
# A gap in the timestamps of an audio stream below this is rounding, not silence.
_GAP_SECONDS = 0.05
# What may be missing from the end of a file whose header was written by a sloppy program.
_MISSING_SECONDS = 0.5


_EXAMPLES = {"audio": "WAV, FLAC, MP3 or M4A", "video": "MP4, MOV or WebM"}


def broken(source: Source, kind: str, why: str | BaseException) -> MediaError:
    """Build the error for a file that is not of ``kind``, or corrupt, or truncated."""
    if isinstance(why, BaseException):
        why = reason(why)
    return MediaError(
        f"{source.label} cannot be decoded as {kind} ({why})",
        legal=f"a complete {kind} file, such as {_EXAMPLES[kind]}",
        fix="check that it was downloaded completely, or convert it with ffmpeg",
    )


def reason(error: BaseException) -> str:
    """Return what is wrong in few words, without PyAV's error numbers and function names."""
    if isinstance(error, av.FFmpegError) and error.strerror:
        return str(error.strerror)
    return str(error)[:200] or type(error).__name__


@contextlib.contextmanager
def open_container(source: Source, kind: str) -> Iterator[av.container.InputContainer]:
    """Open a container, refusing playlists, truncated files and whatever cannot be probed."""
    try:
        container = av.open(
            source.reader(),
            "r",
            container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
            buffer_size=1 << 20,
        )
    except av.ArgumentError as error:  # what the whitelist refuses
        why = "it is a picture, a playlist or another format that is not read"
        raise broken(source, kind, why) from error
    except (*DECODE_ERRORS, OSError) as error:
        raise broken(source, kind, error) from error
    with container:
        if container.format.name.startswith("mov"):
            _refuse_joined(source, kind)
        for stream in (*container.streams.video, *container.streams.audio):
            end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
            if end > source.size:
                raise broken(
                    source, kind, f"truncated: {source.size} bytes of at least {end} are there"
                )
        yield container


def _refuse_joined(source: Source, kind: str) -> None:
    """Refuse MP4 files that were written one behind another, of which only the first is read."""
    opened = source.reader()
    at, tables = 0, 0
    with Path(opened).open("rb") if isinstance(opened, str) else opened as file:
        while len(header := file.read(16)) >= 8:
            size = int.from_bytes(header[:4], "big")
            tables += header[4:8] == b"moov"
            if size == 1:
                size = int.from_bytes(header[8:], "big")
            if size < 8:  # up to the end
                break
            at += size
            file.seek(at)
    if tables > 1:
        raise MediaError(
            f"{source.label} holds {tables} files, one behind another",
            legal=f"one {kind} file, such as {_EXAMPLES[kind]}",
            fix="join them with ffmpeg's concat demuxer, or pass each as a part of its own",
        )


def check_decoder(source: Source, stream: av.stream.Stream) -> None:
    """Refuse a stream whose codec has no decoder here.

    Raises
    ------
    MediaError
        That says how to make a stream that has one.
    """
    if stream.codec_context is None:
        kind = "audio" if stream.type == "audio" else "video"
        codec = {"audio": "-c:a aac", "video": "-c:v libx264"}[kind]
        raise MediaError(
            f"{source.label} holds {kind} of a codec that has no decoder here",
            legal="codecs that FFmpeg decodes, such as H.264, HEVC, VP9, AAC and Opus",
            fix=f"convert it where its codec is known, e.g. ffmpeg -i IN {codec} OUT.mp4",
        )


def check_end(
    source: Source, kind: str, container: av.container.InputContainer, end: float
) -> None:
    """Refuse a file that ends well before the end that its header announces.

    Only Matroska, WebM and FLAC: other containers have an index, or no duration, or raise an error
    where they are cut off.
    """
    if container.duration is None or not container.format.name.startswith(("matroska", "flac")):
        return
    announced = container.duration / av.time_base
    if end < announced - max(_MISSING_SECONDS, 0.05 * announced):
        raise broken(source, kind, f"truncated: {end:.2f} s of {announced:.2f} s are there")


def decode_audio(
    source: Source,
    limits: MediaLimits,
    *,
    origin: float | None = None,
    seconds: float | None = None,
    before: ModelRate | None = None,
) -> ModelRate | None:
    """Decode the first audio stream to mono float32, on its way to 16 kHz.

    With ``origin`` (a time of the container's clock, such as that of the video's first frame), the
    result starts there: silence is put before a stream that starts later, and samples before it are
    cut off. Without, it starts with the stream. Later gaps in the timestamps become silence. With
    ``seconds`` it has at most so many. It follows ``before`` where that has the same rate.

    Returns
    -------
    ModelRate or None
        What becomes of the samples; ``None`` if there is no audio stream.
    """
    with open_container(source, "audio") as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        check_decoder(source, stream)
        track = _Track(source, limits, origin, seconds, before)
        try:
            for frame in container.decode(stream):
                if not track.add(frame):
                    break
            else:
                if len(container.streams) == 1:
                    end = (track.origin or 0.0) + track.made.length / track.rate
                    check_end(source, "audio", container, end)
        except DECODE_ERRORS as error:
            raise broken(source, "audio", error) from error
    return track.made


class _Track:
    """Mono samples on one clock, frame by frame; see :func:`decode_audio`."""

    def __init__(
        self,
        source: Source,
        limits: MediaLimits,
        origin: float | None,
        seconds: float | None,
        before: ModelRate | None,
    ) -> None:
        self.source, self.limits = source, limits
        self.origin, self.seconds = origin, seconds
        self.before = before
        self.rate = SAMPLE_RATE
        self.made = ModelRate(source.label, self.rate, limits)
        self._resampler: av.AudioResampler | None = None

    def add(self, frame: av.AudioFrame) -> bool:
        """Add a frame; return whether more can be added."""
        samples = self._mono(frame)
        length = self.made.length
        start = length
        if frame.time is not None and self.origin is not None:
            start = round((frame.time - self.origin) * self.rate)
        if length == 0 and start < 0:
            samples, start = samples[-start:], min(0, start + samples.size)
        if samples.size == 0:
            return True
        gap = start - length
        if gap > (_GAP_SECONDS * self.rate if length else 0):
            self.made.append_silence(self._wanted(gap))
        self.made.append(samples[: self._wanted(samples.size)])
        return self.seconds is None or self.made.length < round(self.seconds * self.rate)

    def _mono(self, frame: av.AudioFrame) -> np.ndarray:
        names = [channel.name for channel in frame.layout.channels]
        if self._resampler is None:
            self.rate = frame.sample_rate
            self.made = ModelRate.behind(self.before, self.source.label, self.rate, self.limits)
            self._resampler = av.AudioResampler("flt", frame.layout, self.rate)
            if self.origin is None:
                self.origin = frame.time
        # Packed: PyAV reads planes behind the eighth where there are none.
        parts = [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)]
        return mix(
            np.concatenate(parts).reshape(-1, len(names)), channel_weights(len(names), names)
        )

    def _wanted(self, count: int) -> int:
        """Return how many of the next ``count`` samples are wanted, and refuse too many."""
        if self.seconds is not None:
            count = min(count, max(0, round(self.seconds * self.rate) - self.made.length))
        _check_length(self.source, (self.made.length + count) / self.rate, self.limits)
        return count


def _check_length(source: Source, seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.max_audio_seconds:
        raise MediaError(
            f"the audio of {source.label} is longer than {limits.max_audio_seconds:g} s",
            legal=f"at most {limits.max_audio_seconds:g} s",
            fix="cut it, or raise MediaLimits(max_audio_seconds=…)",
        )
