"""Small good media of many formats, and media that lie, or hold more than fits."""

from __future__ import annotations

import functools
import io
import struct
import wave
import zlib
from typing import Any, Final

import av
import numpy as np
import soundfile
from PIL import Image

__all__ = [
    *("AUDIO_FORMATS", "IMAGE_FORMATS", "VIDEO_FORMATS", "chunk", "file_of", "flac_of_silence"),
    *("gif_of", "image_of", "patched", "png_of", "video_of", "wav_of"),
]

IMAGE_FORMATS: Final = {
    "png": "PNG",
    "jpg": "JPEG",
    "gif": "GIF",
    "webp": "WEBP",
    "tif": "TIFF",
    "bmp": "BMP",
    "jp2": "JPEG2000",
    "avif": "AVIF",
    "ico": "ICO",
    "ppm": "PPM",
}
AUDIO_FORMATS: Final = ("wav", "flac", "ogg", "mp3", "m4a", "aiff", "au")
VIDEO_FORMATS: Final = ("mp4", "webm", "mkv", "avi", "mov")
_CODECS: Final = {"mp4": "h264", "mov": "h264", "mkv": "h264", "webm": "vp9", "avi": "mpeg4"}


@functools.cache
def file_of(ending: str) -> bytes:
    """Return a good file: an image of 64 × 48, or two seconds of audio or video."""
    if ending in IMAGE_FORMATS:
        return image_of(IMAGE_FORMATS[ending])
    if ending == "wav":
        return wav_of(2.0)
    return _audio(ending) if ending in AUDIO_FORMATS else video_of(ending)


def image_of(kind: str, size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    """Return an image of noise."""
    pixels = np.random.default_rng(3).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def wav_of(seconds: float, rate: int = 16_000) -> bytes:
    """Return a tone."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        times = np.arange(int(seconds * rate)) / rate
        file.writeframes((np.sin(2765 * times) * 9000).astype("<i2").tobytes())
    return out.getvalue()


def _audio(ending: str) -> bytes:
    out = io.BytesIO()
    samples = (np.sin(np.arange(32_000) / 9) * 0.4).astype(np.float32)
    if ending != "m4a":
        soundfile.write(out, samples, 16_000, format=ending.upper())
        return out.getvalue()
    with av.open(out, "w", format="mp4") as container:
        _add_sound(container, container.add_stream("aac", rate=16_000), samples, 16_000)
    return out.getvalue()


def _add_sound(container: Any, stream: Any, samples: np.ndarray, rate: int) -> None:
    pcm = (samples[None] * 30_000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode()]:
        container.mux(packet)


def video_of(
    ending: str, frames: int = 16, size: tuple[int, int] = (64, 64), rate: int = 8, step: int = 1
) -> bytes:
    """Return a video of noise with a tone; ``step`` ticks of ``1 / rate`` lie between frames."""
    out = io.BytesIO()
    rng = np.random.default_rng(5)
    with av.open(out, "w", format={"mkv": "matroska"}.get(ending, ending)) as container:
        stream = container.add_stream(_CODECS[ending], rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 8
        rate_of_sound = 48_000 if ending == "webm" else 16_000
        codec = "libopus" if ending == "webm" else "aac"
        sound = container.add_stream(codec, rate=rate_of_sound) if step == 1 else None
        for number in range(frames):
            pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number * step
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
        if sound is not None:
            samples = (np.sin(np.arange(rate_of_sound * frames // rate) / 9) * 0.3).astype("f4")
            _add_sound(container, sound, samples, rate_of_sound)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(
    width: int, height: int, depth: int, colour: int, said: tuple[int, int] | None = None
) -> bytes:
    """Return a PNG of zeros, small however large it is; ``said`` is the size that it claims."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * channels * depth + 7) // 8
    packer = zlib.compressobj(9)
    rows = max(1, (1 << 20) // row)
    packed = [
        packer.compress(bytes(row * min(rows, height - done))) for done in range(0, height, rows)
    ]
    head = struct.pack(">IIBBBBB", *(said or (width, height)), depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    data = chunk(b"IDAT", b"".join([*packed, packer.flush()]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + palette + data + chunk(b"IEND", b"")


def gif_of(count: int) -> bytes:
    """Return a GIF of many frames of 16 × 16."""
    frames = [Image.new("P", (16, 16), colour) for colour in (0, 1, 0, 1, 0, 1)]
    for each in frames:
        each.putpalette([0, 0, 0, 255, 255, 255] * 128)
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=10, loop=0)
    data = out.getvalue()
    marks = [i for i in range(len(data)) if data.startswith(b"!\xf9\x04", i)]
    return data[: marks[1]] + data[marks[1] : marks[3]] * (count // 2) + b";"


def patched(data: bytes, box: bytes, offset: int, new: bytes) -> bytes:
    """Return an MP4 with other bytes at an offset in the first box of a kind."""
    at = data.find(box) + 4 + offset
    return data[:at] + new + data[at + len(new) :]


def flac_of_silence(rate: int, seconds: int) -> bytes:
    """Return FLAC whose 65,535 samples take a dozen bytes."""
    block, total = 65_535, rate * seconds
    info = struct.pack(">HH", block, block) + bytes(6)
    info += ((rate << 44) | (15 << 36) | total).to_bytes(8, "big") + bytes(16)
    out = [b"fLaC\x80", len(info).to_bytes(3, "big"), info]
    for number, done in enumerate(range(0, total, block)):
        head = b"\xff\xf8\x70\x08" + _numbered(number)
        head += struct.pack(">H", min(block, total - done) - 1)
        frame = head + bytes([_crc(head, 8, 0x07)]) + bytes(3)
        out.append(frame + struct.pack(">H", _crc(frame, 16, 0x8005)))
    return b"".join(out)


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    top, full = 1 << (bits - 1), (1 << bits) - 1
    found = 0
    for byte in data:
        found ^= byte << (bits - 8)
        for _ in range(8):
            found = ((found << 1) ^ polynomial if found & top else found << 1) & full
    return found


def _numbered(number: int) -> bytes:
    """Write a number as UTF-8 writes a character, which FLAC does beyond what Unicode has."""
    if number < 0x80:
        return bytes([number])
    size = 2
    while number >= 1 << (5 * size + 1):
        size += 1
    rest = []
    for _ in range(size - 1):
        rest.append(0x80 | (number & 0x3F))
        number >>= 6
    return bytes([((0xFF << (8 - size)) & 0xFF) | number, *reversed(rest)])
