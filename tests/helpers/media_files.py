"""Writers of small real media files."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICK = Fraction(1, 90_000)


def tone(rate: float, seconds: float, frequency: float = 440.0) -> np.ndarray:
    times = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def peak_frequency(samples: np.ndarray, rate: int = 16_000) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum) * rate / samples.size)


def write_video(
    path: Path,
    times: Sequence[float | Fraction],
    *,
    size: tuple[int, int] = (64, 48),
    rate: Fraction | int = 30,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    audio: np.ndarray | None = None,
    audio_rate: int = 48_000,
    audio_start: float = 0.0,
    audio_codec: str = "aac",
    pixel_aspect: Fraction | int = 1,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write frames shown at ``times``, the last one for ``1 / rate`` seconds.

    Frame ``i`` has a red left half and the gray level ``20 + 3 i``.
    """
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        video = container.add_stream(codec, rate=rate)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(pixel_aspect)
        if codec not in ("mpeg4", "mpeg2video"):  # which have few bits for it
            video.time_base = video.codec_context.time_base = TICK
        video.options = {"crf": "8"} | (options or {})
        sound = None
        if audio is not None:
            sound = container.add_stream(audio_codec, rate=audio_rate, layout="stereo")
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")
            frame.pts, frame.time_base = round(Fraction(time) / TICK), TICK
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is not None:
            _encode_audio(container, sound, audio, audio_rate, audio_start)
    return path


def picture(i: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    pixels = np.full((size[1], size[0], 3), (20 + 3 * i) % 256, np.uint8)
    pixels[:, : size[0] // 2] = (255, 20, 20)
    pixels[8 + i % 8 : 12 + i % 8, 8:16] = (20, 255, 20)  # moves, so that P frames have vectors
    return pixels


def gray_level(frame: np.ndarray) -> float:
    """Return the ``i`` of a frame of :func:`write_video`."""
    return float((frame[:, frame.shape[1] * 3 // 4 :].mean() - 20) / 3)


def write_audio(
    path: Path,
    codec: str,
    samples: np.ndarray,
    rate: int,
    container_options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        _encode_audio(container, stream, samples, rate, 0.0)
    return path


def _encode_audio(container, stream, samples, rate, start) -> None:
    frame = av.AudioFrame.from_ndarray(np.stack([samples] * 2), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, round(start * rate), Fraction(1, rate)
    context = stream.codec_context
    resampler = av.AudioResampler(
        context.format, context.layout, rate, frame_size=context.frame_size or 1024
    )
    parts: Iterable = [*resampler.resample(frame), *resampler.resample(None)]
    for part in parts:
        container.mux(stream.encode(part))
    container.mux(stream.encode())


def set_matrix(data: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """Set the display matrix of the first track of an MP4 file."""
    tkhd = data.index(b"tkhd") + 4
    start = tkhd + 4 + (32 if data[tkhd] else 20) + 16
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    return data[:start] + matrix + data[start + 36 :]


def write_long_flac(path: Path, *, minutes: float, rate: int) -> Path:
    """Write silence that takes no room as a file, and ``minutes`` at a high rate when decoded."""
    block = 65_535
    frames = round(minutes * 60 * rate / block)
    info = struct.pack(">HH6x", block, block)
    info += (rate << 44 | 15 << 36 | frames * block).to_bytes(8, "big") + bytes(16)
    parts = [b"fLaC\x80", len(info).to_bytes(3, "big"), info]
    for number in range(frames):
        # As UTF-8 would code it; blocks of a size that follows, one channel of 16 bits.
        head = b"\xff\xf8\x70\x08" + chr(number).encode("utf-8", "surrogatepass")
        head += struct.pack(">H", block - 1)
        head += _crc(head, 8, 0x07).to_bytes(1, "big")
        frame = head + b"\x00\x00\x00"  # a constant, 0
        parts.append(frame + _crc(frame, 16, 0x8005).to_bytes(2, "big"))
    path.write_bytes(b"".join(parts))
    return path


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    register = 0
    for byte in data:
        register ^= byte << (bits - 8)
        for _ in range(8):
            register <<= 1
            if register >> bits:
                register ^= 1 << bits | polynomial
    return register
