"""The recordings in a file of sound: whether it is complete, and whether there are several.

Decoders say little of either: they read what is left of a cut file, and of several recordings that
were written one behind another only the first. Here the headers are read, and nothing is decoded.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from omnitrace.errors import MediaError
from omnitrace.media._container import broken
from omnitrace.media._mpeg_frames import recordings_of_mp3
from omnitrace.media.source import Source

__all__ = ["split_recordings"]

# What begins as WAV and AIFF do, and is something else: videos, MIDI, pictures.
_OTHERS: Final = (b"AVI ", b"AVIX", b"RMID", b"WEBP", b"8SVX", b"ILBM")


class _CutError(Exception):
    """A header announces more than there is."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where a recording ends, and sizes in its header that have to be put right: place, bytes."""

    end: int
    sizes: tuple[tuple[int, bytes], ...] = ()


def split_recordings(source: Source, data: bytes) -> list[bytes]:
    """Return the recordings that the bytes of a file hold, one behind another; usually one.

    A WAV file that was written to a pipe and does not say how long it is gets its true size. Bytes
    of a format without such headers are returned as they are.

    Raises
    ------
    MediaError
        If a recording ends before its header says.
    """
    if data[:4] in _HEADERS and data[8:12] not in _OTHERS:
        return _by_headers(source, data)
    if data[:4] == b"fLaC":
        starts = list(_found(data, b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"))
    elif data[:4] == b"OggS":
        starts = list(_links(source, data))
    else:
        starts = recordings_of_mp3(data)
    starts = sorted({0, *starts})
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def _by_headers(source: Source, data: bytes) -> list[bytes]:
    """Split where each header says that its recording ends."""
    magic, view = data[:4], memoryview(data)
    found: list[bytes] = []
    start = 0
    while data[start : start + 4] == magic:
        try:
            extent = _HEADERS[magic](view[start:])
        except _CutError as error:
            raise broken(source, "audio", f"truncated: {error}") from None
        except struct.error:
            raise broken(source, "audio", "truncated: its header is not complete") from None
        if start == 0 and extent == _Extent(len(data)):
            return [data]
        piece = bytearray(view[start : start + extent.end])
        for place, size in extent.sizes:
            piece[place : place + len(size)] = size
        found.append(bytes(piece))
        start += extent.end
    return found


def _complete(view: memoryview, start: int, size: int) -> int:
    """Return where a chunk ends."""
    if start + size > len(view):
        raise _CutError(f"{len(view) - start} bytes of {size} of the sound are there")
    return start + size


def _riff(view: memoryview) -> _Extent:
    """WAV, and its forms with sizes of 64 bits."""
    order = ">" if bytes(view[:4]) == b"RIFX" else "<"
    announced: int = struct.unpack_from(order + "I", view, 4)[0] + 8
    large: tuple[int, int] | None = None  # a place of 8 bytes, and the size there
    at = 12
    while True:
        name = bytes(view[at : at + 4])
        size: int = struct.unpack_from(order + "I", view, at + 4)[0]
        if name == b"ds64":
            large = at + 16, struct.unpack_from("<Q", view, at + 16)[0]
            announced = struct.unpack_from("<Q", view, at + 8)[0] + 8
        elif name == b"data":
            break
        at = _complete(view, at + 8, size + size % 2)
    start = at + 8
    if large is not None and size == 0xFFFF_FFFF:
        size = large[1]
    if _says_nothing(size, bytes(view[start : start + 4])):
        rest = len(view) - start
        sizes = [(4, struct.pack(order + "I", min(len(view) - 8, 0xFFFF_FFFF)))]
        sizes.append((at + 4, struct.pack(order + "I", rest)))
        if large is not None:
            sizes.append((large[0] - 8, struct.pack("<QQ", len(view) - 8, rest)))
        return _Extent(len(view), tuple(sizes))
    end = _complete(view, start, size)
    # Other chunks may follow, up to the end that the header announces.
    for place in (announced, end, end + size % 2):
        if end <= place < len(view) and view[place : place + 4] == view[:4]:
            return _Extent(place)
    return _Extent(len(view))


def _says_nothing(size: int, follows: bytes) -> bool:
    """Whether the size of a WAV file's sound is what programs write that cannot know it."""
    if size == 0:
        return bool(follows) and not (follows.isascii() and follows.strip().isalnum())
    return abs(size - (1 << 31)) <= 4096 or (1 << 32) - 4096 <= size < 1 << 32


def _aiff(view: memoryview) -> _Extent:
    announced: int = struct.unpack_from(">I", view, 4)[0] + 8
    at = 12
    found = False
    while at + 8 <= len(view) and not (found and view[at : at + 4] == view[:4]):
        name, size = struct.unpack_from(">4sI", view, at)
        if name == b"SSND":
            found = True
            if size == 0 and len(view) > at + 16 and announced <= 12:
                raise _CutError("its header does not say how long it is")
        padded = size + size % 2
        at = _complete(view, at + 8, size if at + 8 + padded > len(view) else padded)
    if not found:
        raise _CutError("its sound is not there")
    return _Extent(at if at + 8 <= len(view) else len(view))


def _au(view: memoryview) -> _Extent:
    order = ">" if bytes(view[:4]) == b".snd" else "<"
    header, size = struct.unpack_from(order + "II", view, 4)
    struct.unpack_from(order + "3I", view, 12)
    if header < 24:
        raise _CutError(f"a header of {header} bytes")
    if size == 0xFFFF_FFFF:
        return _Extent(len(view))
    end = _complete(view, header, size)
    return _Extent(end if view[end : end + 4] == view[:4] else len(view))


def _caf(view: memoryview) -> _Extent:
    at = 8
    found = False
    while at + 12 <= len(view) and not (found and view[at : at + 4] == view[:4]):
        name, size = struct.unpack_from(">4sq", view, at)
        found = found or name == b"data"
        if size < 0:  # to the end
            return _Extent(len(view))
        at = _complete(view, at + 12, size)
    if not found:
        raise _CutError("its sound is not there")
    return _Extent(at if at + 12 <= len(view) else len(view))


def _w64(view: memoryview) -> _Extent:
    (announced,) = struct.unpack_from("<Q", view, 16)
    at = 40
    while True:
        name = bytes(view[at : at + 4])
        (size,) = struct.unpack_from("<Q", view, at + 16)
        if name == b"data":
            break
        if size < 24:
            raise _CutError("a chunk of its header has no size")
        at = _complete(view, at, size + -size % 8)
    if size >= 1 << 63:
        return _Extent(len(view))
    end = _complete(view, at, size)
    follows = view[announced : announced + 4] == view[:4] and announced >= end
    return _Extent(announced if follows else len(view))


_HEADERS: Final[dict[bytes, Callable[[memoryview], _Extent]]] = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), _riff),
    **dict.fromkeys((b".snd", b"dns."), _au),
    b"FORM": _aiff,
    b"caff": _caf,
    b"riff": _w64,
}


def _found(data: bytes, *marks: bytes) -> Iterator[int]:
    for mark in marks:
        at = data.find(mark)
        while at >= 0:
            yield at
            at = data.find(mark, at + 1)


def _links(source: Source, data: bytes) -> Iterator[int]:
    """Find where a chained Ogg file begins again: at a first page behind others."""
    at, among_first, ends = 0, True, True
    while data[at : at + 4] == b"OggS":
        if at + 27 > len(data) or at + 27 + data[at + 26] > len(data):
            raise _cut_page(source)
        count = data[at + 26]
        begins = bool(data[at + 5] & 2)
        if begins and not among_first:
            yield at
        among_first, ends = begins, bool(data[at + 5] & 4)
        at += 27 + count + sum(data[at + 27 : at + 27 + count])
        if at > len(data):
            raise _cut_page(source)
    if not ends:
        warnings.warn(
            f"{source.label} has no mark of its end, as a recording that was cut off or stopped: "
            "what is there is read",
            RuntimeWarning,
            stacklevel=2,
        )


def _cut_page(source: Source) -> MediaError:
    return broken(source, "audio", "truncated: its last page is not complete")
