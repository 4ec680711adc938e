"""Malformed media: damaged, lying about their size, far too large, or no file at all."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.fuzz.case import Build, Case, Expected, Source
from tests.fuzz.good import Good
from tests.fuzz.media_files import (
    AUDIO_FORMATS,
    IMAGE_FORMATS,
    VIDEO_FORMATS,
    chunk,
    file_of,
    flac_of_silence,
    gif_of,
    patched,
    png_of,
    video_of,
)
from tests.fuzz.mutate import damaged
from tests.fuzz.requests import SHORT, ask, request
from tests.fuzz.special_files import SPECIAL_FILES

__all__ = ["SOURCE"]

_KINDS: Final = ("image", "audio", "video")
_FORMATS: Final = {"image": tuple(IMAGE_FORMATS), "audio": AUDIO_FORMATS, "video": VIDEO_FORMATS}


def _wav(
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    form: int = 1,
    data: bytes = b"\0\0" * 1600,
    said: int | None = None,
) -> bytes:
    align = channels * bits // 8
    body = b"fmt " + struct.pack(
        "<IHHIIHH", 16, form, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits
    )
    body += b"data" + struct.pack("<I", len(data) if said is None else said) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def _floats(value: float, form: str = "<f4") -> bytes:
    bits = 64 if form == "<f8" else 32
    return _wav(form=3, bits=bits, data=np.full(1600, value).astype(form).tobytes())


def _png_with(kind: bytes, data: Callable[[], bytes]) -> Callable[[], bytes]:
    def make() -> bytes:
        small = file_of("png")
        return small[:33] + chunk(kind, data()) + small[33:]

    return make


def _zeros(count: int) -> bytes:
    import zlib

    return b"a\0\0" + zlib.compress(bytes(count), 9)


#: Name, kind, ending, bytes, what is right.
_FILES: Final[tuple[tuple[str, str, str, Callable[[], bytes], Expected], ...]] = (
    ("a text", "image", "png", lambda: b"hello", "refused"),
    ("HTML", "image", "png", lambda: b"<html><script>alert(1)</script>", "refused"),
    ("SVG", "image", "svg", lambda: b'<svg><image href="file:///etc/passwd"/></svg>', "refused"),
    (
        "EPS",
        "image",
        "eps",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "refused",
    ),
    ("20,000² in 1 bit", "image", "png", lambda: png_of(20_000, 20_000, 1, 0), "refused"),
    (
        "claims 2³¹ pixels a side",
        "image",
        "png",
        lambda: png_of(9, 9, 8, 2, (2**31 - 1,) * 2),
        "refused",
    ),
    ("claims no pixel", "image", "png", lambda: png_of(9, 9, 8, 2, (0, 0)), "refused"),
    ("a line of 201 pixels", "image", "png", lambda: png_of(1, 201, 8, 2), "refused"),
    ("less data than it says", "image", "png", lambda: png_of(9, 9, 8, 2, (500, 500)), "either"),
    ("more data than it says", "image", "png", lambda: png_of(500, 500, 8, 2, (9, 9)), "either"),
    ("a GIF of 100,000 frames", "image", "gif", lambda: gif_of(100_000), "either"),
    (
        "a text chunk of 200 MB",
        "image",
        "png",
        _png_with(b"zTXt", lambda: _zeros(200_000_000)),
        "either",
    ),
    (
        "a colour profile of 200 MB",
        "image",
        "png",
        _png_with(b"iCCP", lambda: _zeros(200_000_000)),
        "either",
    ),
    (
        "EXIF of rubbish",
        "image",
        "png",
        _png_with(b"eXIf", lambda: b"MM\0*" + b"\xff" * 4000),
        "either",
    ),
    ("claims 4 GB of samples", "audio", "wav", lambda: _wav(said=2**32 - 1), "either"),
    # As a program writes it that does not know the length: what follows is read.
    ("claims no samples", "audio", "wav", lambda: _wav(said=0), "either"),
    ("rate 0", "audio", "wav", lambda: _wav(rate=0), "refused"),
    ("rate 1", "audio", "wav", lambda: _wav(rate=1), "refused"),
    ("rate 2³²", "audio", "wav", lambda: _wav(rate=2**32 - 1), "refused"),
    ("no channel", "audio", "wav", lambda: _wav(channels=0), "refused"),
    (
        "1,024 channels",
        "audio",
        "wav",
        lambda: _wav(channels=1024, data=bytes(2048 * 3000)),
        "either",
    ),
    ("255 bits", "audio", "wav", lambda: _wav(bits=255), "refused"),
    ("NaN samples", "audio", "wav", lambda: _floats(np.nan), "refused"),
    ("infinite samples", "audio", "wav", lambda: _floats(np.inf), "refused"),
    ("samples of 3e38", "audio", "wav", lambda: _floats(3e38), "either"),
    ("samples of 1e300", "audio", "wav", lambda: _floats(1e300, "<f8"), "refused"),
    ("91 seconds", "audio", "wav", lambda: _wav(data=bytes(32_000 * 91)), "refused"),
    (
        "an hour at 1 kHz",
        "audio",
        "wav",
        lambda: _wav(rate=1000, bits=8, data=bytes(3_600_000)),
        "refused",
    ),
    (
        "a playlist",
        "audio",
        "m3u8",
        lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "refused",
    ),
    (
        "a list of files",
        "audio",
        "wav",
        lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
        "refused",
    ),
    ("an image", "audio", "wav", lambda: file_of("png"), "refused"),
    ("zeros", "audio", "wav", lambda: bytes(100_000), "refused"),
    (
        "a million chunks",
        "audio",
        "wav",
        lambda: b"RIFF\4\x12\x7a\0WAVE" + b"junk\0\0\0\0" * 10**6,
        "refused",
    ),
    (
        "a list of files",
        "video",
        "mp4",
        lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "refused",
    ),
    ("a text", "video", "mp4", lambda: b"hello", "refused"),
    ("an image", "video", "mp4", lambda: file_of("png"), "refused"),
    ("sound only", "video", "mp4", lambda: file_of("m4a"), "refused"),
    ("zeros", "video", "mp4", lambda: bytes(1 << 20), "refused"),
    ("a GIF of 100,000 frames", "video", "gif", lambda: gif_of(100_000), "either"),
    (
        "62 minutes in 3 frames",
        "video",
        "mp4",
        lambda: video_of("mp4", 3, step=8 * 1850),
        "refused",
    ),
    ("58 minutes in 3 frames", "video", "mp4", lambda: video_of("mp4", 3, step=8 * 1160), "either"),
    ("16 by 3,202", "video", "mp4", lambda: video_of("mp4", 2, size=(16, 3202)), "refused"),
)
#: What is far larger than its file.
_LARGE: Final[tuple[tuple[str, str, str, Callable[[], bytes], Expected], ...]] = (
    ("9,999² in 1 bit", "image", "png", lambda: png_of(9999, 9999, 1, 0), "either"),
    ("9,999² in 16-bit RGBA", "image", "png", lambda: png_of(9999, 9999, 16, 6), "either"),
    ("9,999² in a palette", "image", "png", lambda: png_of(9999, 9999, 8, 3), "either"),
    (
        "59 minutes of FLAC at 655 kHz",
        *("audio", "flac", lambda: flac_of_silence(655_350, 3540), "refused"),
    ),
    (
        "59 minutes of FLAC at 192 kHz",
        *("audio", "flac", lambda: flac_of_silence(192_000, 3540), "refused"),
    ),
)
_BOXES: Final[tuple[tuple[str, bytes, int, bytes], ...]] = (
    ("mvhd, a duration of 2³²", b"mvhd", 16, b"\xff" * 4),
    ("mvhd, no time scale", b"mvhd", 12, bytes(4)),
    ("mdhd, no time scale", b"mdhd", 12, bytes(4)),
    ("mdhd, a time scale of 1", b"mdhd", 12, b"\0\0\0\1"),
    ("mdhd, a time scale of 2³²", b"mdhd", 12, b"\xff" * 4),
    ("mdhd, a duration of 2³²", b"mdhd", 16, b"\xff" * 4),
    ("avc1, 65,535 by 65,535", b"avc1", 24, b"\xff" * 4),
    ("tkhd, a huge size", b"tkhd", 76, b"\x7f\xff\0\0" * 2),
    ("tkhd, no matrix", b"tkhd", 40, bytes(36)),
    ("stts, a delta of 2³¹", b"stts", 12, b"\x7f\xff\xff\xff"),
    ("stts, no delta", b"stts", 12, bytes(4)),
    ("stts, 2³¹ frames", b"stts", 8, b"\x7f\xff\xff\xff"),
    ("stts, nine entries", b"stts", 4, b"\0\0\0\x09"),
    ("stsz, 2²⁸ sizes", b"stsz", 8, b"\x10\0\0\0"),
    ("stsz, a size of 2³¹", b"stsz", 4, b"\x7f\xff\xff\xff"),
    ("stco, 2²⁸ offsets", b"stco", 4, b"\x10\0\0\0"),
    ("stco, a far offset", b"stco", 8, b"\x7f\xff\xff\xff"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *("nowhere.png", ".", "/", "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem", ""),
    *("/proc/kcore", "/etc/passwd", "../../../../etc/hostname", "file:///etc/passwd", " ", "-"),
    *("file://evil.example/share/x.png", "file:///%00", "file:///%ff%fe", "file:", "file://"),
    *("file://[::1/x", "file://[zz]/x", "file://[", "file://]:99999/x", "http://[::1/x"),
    *("http://127.0.0.1:9/x.png", "//127.0.0.1/x", "\\\\host\\share\\x.png", "ftp://h/x"),
    *("concat:/etc/passwd|/etc/hosts", "subfile,,start,0,end,9,,:/etc/passwd", "pipe:0"),
    *("data:", "data:,", "data:image/png;base64,", "data:image/png;base64,!!!!", "data:;;;,%"),
    *("data:image/png;base64,AAAA", "data:image/png;base64", "data:" + "x" * 100_000 + ",a"),
    *("a\x00b.png", "a" * 300, "a" * 5000, "/".join(["a"] * 3000), "~/x.png", "C:\\x.png"),
    *("\ud800", "\u202egnp.x", "$(touch x).png", "[link](x)", 3, True, 1.5, [], [[1]], {}),
    *({"url": "http://127.0.0.1:9/x"}, {"url": None}, {"url": {"url": "x"}}, {"path": "x"}),
    *({"array": [1, 2]}, {"array": [[[1e999]]], "sampling_rate": 10**30}, {"bytes": "x"}, ["a"]),
)
_OPTIONS: Final[tuple[tuple[str, dict[str, Any], Expected], ...]] = (
    ("video", {"fps": 0}, "refused"),
    ("video", {"fps": -1}, "refused"),
    ("video", {"fps": 1e308}, "either"),
    ("video", {"fps": 1e-300}, "either"),
    ("video", {"fps": 10**30}, "either"),
    ("video", {"fps": "x"}, "refused"),
    ("video", {"fps": [1]}, "refused"),
    ("video", {"fps": True}, "refused"),
    ("audio", {"sampling_rate": 10**30}, "refused"),
    ("audio", {"sampling_rate": [1]}, "refused"),
    ("audio", {"sampling_rate": "x"}, "refused"),
)


def _file(kind: str, ending: str, data: Callable[[], bytes], **more: Any) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        part = {"type": kind, kind: f"m.{ending}", **more}
        return request(ask(part), **{f"m_{ending}": data()})(folder, good)

    return build


def _special(kind: str, name: str) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        SPECIAL_FILES[name](folder / "m")
        return request(ask({"type": kind, kind: "m"}))(folder, good)

    return build


def _quick(kind: str, value: str) -> Build:
    return lambda folder, good: ["trace", f"--{kind}", value, "--ask", "What?", *SHORT]


def _known() -> Iterator[Case]:
    for name, kind, ending, data, expected in (*_FILES, *_LARGE):
        yield Case("media", f"{kind}, {name}", _file(kind, ending, data), expected)
    for name, box, offset, new in _BOXES:
        data = lambda b=box, o=offset, n=new: patched(file_of("mp4"), b, o, n)  # noqa: E731
        yield Case("media", name, _file("video", "mp4", data))
    for kind in _KINDS:
        for value in _VALUES:
            name = f"{kind} {ascii(value)[:60]}"
            yield Case("media", name, request(ask({"type": kind, kind: value})), "refused")
            if isinstance(value, str) and not value.startswith("\ud800"):
                yield Case("media", f"--{name}", _quick(kind, value), "refused")
        for name in SPECIAL_FILES:
            yield Case("media", f"{kind} is {name}", _special(kind, name), "refused")
    for kind, more, expected in _OPTIONS:
        ending = {"audio": "wav", "video": "mp4"}[kind]
        build = _file(kind, ending, lambda e=ending: file_of(e), **more)
        yield Case("media", f"{kind} with {more}", build, expected)


def _more(rng: random.Random, index: int) -> Case:
    kind = rng.choice(_KINDS)
    ending = rng.choice(_FORMATS[kind])
    name, data = damaged(file_of(ending), rng)
    return Case("media", f"{ending} {name}", _file(kind, ending, lambda: data))


SOURCE: Final = Source(_known, _more)
