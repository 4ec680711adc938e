"""Audio: decoded with soundfile or PyAV, mixed to mono, resampled to 16 kHz with soxr."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import soundfile

from omnitrace.errors import MediaError
from omnitrace.media._container import broken, decode_audio, open_container
from omnitrace.media._messages import Sink
from omnitrace.media._mixdown import channel_weights, mix
from omnitrace.media._model_rate import SAMPLE_RATE, ModelRate, to_model_rate
from omnitrace.media._mpeg_frames import FRAME_SAMPLES, counts_frames
from omnitrace.media._recordings import split_recordings
from omnitrace.media._worker import WORKER
from omnitrace.media.clip import WHOLE, Clip
from omnitrace.media.limits import DEFAULT_LIMITS, MediaLimits
from omnitrace.media.source import MediaSource, Source, resolve_source

__all__ = ["SAMPLE_RATE", "AudioArray", "LoadedAudio", "decode_into", "load_audio", "probe_into"]

AudioArray: TypeAlias = np.ndarray | tuple[np.ndarray, float]

_MAX_CHANNELS = 64
_BLOCK = 1 << 18
# A larger file is read only if its beginning is of a known format.
_PROBED_BYTES = 1 << 26
# libsndfile's number of frames where the header of a FLAC file does not say it.
_UNKNOWN_FRAMES = 1 << 48
_LEGAL = (
    "a path, bytes, a data: URL, a file:// URL, a numpy array of samples at 16 kHz, or a tuple "
    "(samples, rate)"
)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedAudio:
    r"""Mono audio at 16 kHz.

    ``samples`` is float32 ``[n]``, nominally in [-1, 1]; louder values of float sources are kept,
    not clipped. ``sha256`` is of the original bytes ``data`` (for the track of a video, of the
    video's bytes, and ``data`` is ``None``). For an array there are none: the digest is then of
    the ASCII header ``f32le 16000\n`` followed by ``samples`` as little-endian float32.

    Where only a part was asked for, ``start`` is where in the recording sample 0 lies, in seconds,
    and ``whole`` how long all of it is.
    """

    samples: np.ndarray
    sha256: str
    name: str
    data: bytes | None = field(default=None, repr=False)
    sample_rate: int = SAMPLE_RATE
    start: float = 0.0
    whole: float | None = None

    @property
    def duration(self) -> float:
        """Seconds of the samples."""
        return int(self.samples.shape[0]) / self.sample_rate

    @property
    def end(self) -> float:
        """Where in the recording the samples end, in seconds."""
        return self.start + self.duration

    def encoded(self) -> bytes:
        """Return the original bytes, or where there are none a float WAV of the samples."""
        if self.data is not None:
            return self.data
        buffer = io.BytesIO()
        soundfile.write(buffer, self.samples, self.sample_rate, format="WAV", subtype="FLOAT")
        return buffer.getvalue()


def load_audio(
    source: MediaSource | AudioArray,
    *,
    limits: MediaLimits = DEFAULT_LIMITS,
    media_root: str | os.PathLike[str] | None = None,
    clip: Clip = WHOLE,
) -> LoadedAudio:
    """Load audio as mono float32 at 16 kHz.

    Stereo is averaged; surround sound is mixed down with the weights of ITU-R BS.775, without its
    low-frequency effects, and the two sides are averaged (see :mod:`omnitrace.media._mixdown`).
    Values are not normalised and, for float sources, not clipped. Of a file that several
    recordings were written into, one behind another, all are read.

    Parameters
    ----------
    source:
        A path, bytes, a ``data:`` or ``file://`` URL (WAV, FLAC, MP3, OGG; through PyAV also M4A,
        AAC, and the audio of MP4, WebM and others), an array at 16 kHz, or ``(array, rate)``.
        Arrays are ``[n]``, ``[n, channels]`` or ``[channels, n]`` (the shorter axis is the
        channels), of floats or of int8, uint8, int16 or int32, which are scaled to [-1, 1].
    limits:
        ``max_audio_seconds`` is checked before or while decoding.
    media_root:
        The folder against which relative paths are resolved.
    clip:
        The seconds to read.

    Raises
    ------
    MediaError
        If it is missing, not audio, empty, truncated, over a limit or has NaN or infinite values.
    """
    if isinstance(source, tuple | np.ndarray):
        return _cut(_from_array(source, limits), "the audio array", clip)
    resolved = resolve_source(source, limits=limits, media_root=media_root, legal=_LEGAL)
    if resolved.size > _PROBED_BYTES:
        if limits.isolate:
            WORKER.decode("probe_audio", resolved, limits)
        else:
            probe(resolved)
    held = resolved.held()
    assert held.data is not None
    if limits.isolate:
        samples = WORKER.decode("audio", held, limits)[1]["samples"]
    else:
        samples = _decode(held, limits)
    audio = LoadedAudio(samples, hashlib.sha256(held.data).hexdigest(), held.name, held.data)
    return _cut(audio, resolved.label, clip)


def probe(source: Source) -> None:
    """Refuse a file of no known audio format by its first bytes, before all of it is read."""
    try:
        soundfile.SoundFile(source.reader()).close()
    except (soundfile.SoundFileError, RuntimeError, TypeError):
        with open_container(source, "audio"):
            pass


def probe_into(source: Source, limits: MediaLimits, sink: Sink) -> dict[str, Any]:
    """Do :func:`probe` in the worker process."""
    probe(source)
    return {}


def decode_into(source: Source, limits: MediaLimits, sink: Sink) -> dict[str, Any]:
    """Decode an audio file into the array "samples", float32 ``[n]``, in the worker process."""
    samples = _decode(source, limits)
    sink.begin("samples", samples.shape, "float32")
    sink.add(samples)
    return {}


def _decode(source: Source, limits: MediaLimits) -> np.ndarray:
    """Decode the bytes of an audio file, all recordings in it, to 16 kHz."""
    data = source.read()
    made: list[ModelRate] = []  # recordings of one rate together
    seconds = 0.0
    for piece in split_recordings(source, data):
        recording = Source(source.name, source.path, len(piece), piece)
        decoded = _decode_recording(recording, limits, made[-1] if made else None)
        seconds += decoded.length / decoded.rate
        _check_seconds(source.label, seconds, limits)
        if not made or decoded is not made[-1]:
            made.append(decoded)
    return made[0].result() if len(made) == 1 else np.concatenate([each.result() for each in made])


def _cut(audio: LoadedAudio, label: str, clip: Clip) -> LoadedAudio:
    """Return the part that is asked for."""
    if not clip.cuts:
        return audio
    start, end = clip.within(label, audio.duration)
    first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
    part = audio.samples[first:last]
    if not part.size:
        raise MediaError(
            f"{label} is asked for from {start:g} to {end:g} s, which is less than a sample",
            legal=f"at least {1 / SAMPLE_RATE:g} s",
            fix="give a longer part",
        )
    return dataclasses.replace(
        audio,
        samples=part,
        data=audio.encoded(),  # all of it, so that the same part can be read again
        start=first / SAMPLE_RATE,
        whole=audio.duration,
    )


def _decode_recording(source: Source, limits: MediaLimits, before: ModelRate | None) -> ModelRate:
    """Decode one recording to mono, behind the one before if it has the same rate."""
    decoded = _decode_soundfile(source, limits, before)
    if decoded is None:
        decoded = decode_audio(source, limits, before=before)
    if decoded is None:
        raise broken(source, "audio", "it has no audio stream")
    return decoded


def _decode_soundfile(
    source: Source, limits: MediaLimits, before: ModelRate | None
) -> ModelRate | None:
    """Decode with libsndfile; ``None`` if it does not know the format, or what its channels are."""
    data = source.read()
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except (soundfile.SoundFileError, RuntimeError, TypeError):
        return None
    with file:
        # PyAV says which of several channels is which, and reads what does not say its length.
        if file.channels > 2 or file.frames > _UNKNOWN_FRAMES:
            return None
        rate = int(file.samplerate)
        _check_seconds(source.label, file.frames / rate, limits)
        made = ModelRate.behind(before, source.label, rate, limits)
        made.announce(file.frames)
        try:
            while True:
                block = file.read(_BLOCK, dtype="float32", always_2d=True)
                if not len(block):
                    break
                made.append(mix(block, channel_weights(file.channels)))
                _check_seconds(source.label, made.length / rate, limits)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise broken(source, "audio", error) from error
        missing: float = 0  # what may be: the length of an MP3 file without a table is a guess
        if file.format == "MP3":
            missing = FRAME_SAMPLES if counts_frames(data) else rate / 10
        if made.length < file.frames - missing:
            raise broken(
                source, "audio", f"truncated: {made.length} samples of {file.frames} are there"
            )
    return made


def _check_seconds(label: str, seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.max_audio_seconds:
        raise MediaError(
            f"{label} lasts {seconds:.1f} s",
            legal=f"at most {limits.max_audio_seconds:g} s",
            fix="cut it, or raise MediaLimits(max_audio_seconds=…)",
        )


def _from_array(source: AudioArray, limits: MediaLimits) -> LoadedAudio:
    array: object = source
    rate: object = SAMPLE_RATE
    if isinstance(source, tuple):
        array, rate = source if len(source) == 2 else (None, None)
    if (
        not isinstance(array, np.ndarray)
        or isinstance(rate, bool)
        or not isinstance(rate, int | float | np.integer | np.floating)
    ):
        raise MediaError(
            "the audio tuple is not (samples, rate)",
            legal="(numpy array, samples per second)",
            fix="pass for example (samples, 44100)",
        )
    mono = _to_mono(array)
    rate = float(rate)
    if rate > 0:
        _check_seconds("the audio array", mono.size / rate, limits)
    samples = to_model_rate("the audio array", mono, rate, limits)
    digest = hashlib.sha256(b"f32le 16000\n" + samples.astype("<f4").tobytes()).hexdigest()
    return LoadedAudio(samples, digest, "<array>")


def _to_mono(array: np.ndarray) -> np.ndarray:
    shape = "x".join(map(str, array.shape))
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    if array.ndim not in {1, 2} or (array.ndim == 2 and array.shape[1] > _MAX_CHANNELS):
        raise MediaError(
            f"the audio array has shape {shape or '()'}",
            legal=f"[n], [n, channels] or [channels, n] with at most {_MAX_CHANNELS} channels",
            fix="pass one audio signal",
        )
    if array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128) / 128
    elif array.dtype in (np.int8, np.int16, np.int32):
        array = array.astype(np.float64) / (-float(np.iinfo(array.dtype).min))
    elif not np.issubdtype(array.dtype, np.floating):
        raise MediaError(
            f"the audio array has dtype {array.dtype}",
            legal="floats, int8, uint8, int16 or int32",
            fix="convert it to float32 in [-1, 1]",
        )
    if array.ndim == 2 and array.size:
        array = mix(array, channel_weights(array.shape[1]))
    return array.astype(np.float32).reshape(-1)
