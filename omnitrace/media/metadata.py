"""Media without what a camera or an editor wrote into them: where, when, by whom, with what.

Pixels, sound, times, colours and the way up stay as they are, to the last bit: what is private is
cut out of the file, or blanked in place, and nothing is encoded again. Only images of other formats
than JPEG, PNG and WebP become PNG files, if they say anything at all.

Audio files, Matroska and AVI files are left alone: their tags name titles and artists, not places.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import PIL.Image

from omnitrace.errors import MediaError

__all__ = ["without_metadata"]

_ORIENTATION: Final = 0x0112
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = re.compile(
    rb"IHDR|PLTE|IDAT|IEND|gAMA|cHRM|sRGB|iCCP|cICP|sBIT|bKGD|tRNS|pHYs|hIST|sPLT|acTL|fcTL|fdAT|"
    rb"mDCV|cLLI"
)
_WEBP_KEPT: Final = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04
# After an entropy-coded segment: any marker but stuffed zeros and restarts.
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FIRST_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_IMAGE_BRANDS: Final = (b"hei", b"hev", b"mif", b"msf", b"avif", b"avis")
# TIFF tags that say more than how to show the pixels.
_TIFF_PRIVATE: Final = frozenset(
    (269, 270, 271, 272, 305, 306, 315, 316, 700, 33432, 33723, 34377, 34665, 34853, 37724, 50341)
)
_INFO_PRIVATE: Final = ("exif", "xmp", "comment", "photoshop", "Raw profile type exif")


def without_metadata(data: bytes) -> bytes:
    """Return a medium's bytes without private metadata; the same bytes where there are none.

    Raises
    ------
    MediaError
        If the file cannot be understood well enough to be sure.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == _PNG:
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        picture = data[4:8] == b"ftyp" and data[8:12].startswith(_IMAGE_BRANDS)
        if data[4:8] in _FIRST_BOXES and not picture:
            return _mp4(data)
        return _other(data)
    except MediaError:
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        raise MediaError(
            f"what is private in a medium cannot be told from the rest ({error})",
            fix="keep its metadata on purpose: metadata=True, --keep-metadata; or save no media",
        ) from error


def _minimal_exif(data: bytes) -> bytes:
    """Return EXIF that says nothing but which way is up; empty where that needs no word."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        found = image.getexif().get(_ORIENTATION, 1)
    if found == 1:
        return b""
    exif = PIL.Image.Exif()
    exif[_ORIENTATION] = found
    return exif.tobytes()


def _jpeg(data: bytes) -> bytes:
    exif = _minimal_exif(data)
    if exif:
        exif = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    head, out, at = bytearray(data[:2]), bytearray(), 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill
            at += 1
        if data[at] != 0xFF:
            raise ValueError(f"no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xD9:  # what follows the end is another image, or a video
            return bytes(head + exif + out + b"\xff\xd9")
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at : at + 2 + length]
        if length < 2 or len(segment) < length + 2:
            raise ValueError(f"a broken segment at byte {at}")
        at += len(segment)
        if marker == 0xE0 and not out and segment[4:9] == b"JFIF\0":
            head += segment
        elif _is_kept(marker, segment):
            out += segment
        if marker == 0xDA:
            found = _JPEG_MARKER.search(data, at)
            if found is None:
                raise ValueError("no end of the image")
            out += data[at : found.start()]
            at = found.start()


def _is_kept(marker: int, segment: bytes) -> bool:
    if marker == 0xE2:
        return segment[4:15] == b"ICC_PROFILE"
    if marker == 0xEE:
        return segment[4:9] == b"Adobe"
    return not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _png(data: bytes) -> bytes:
    exif = _minimal_exif(data).removeprefix(b"Exif\0\0")
    out, at = bytearray(_PNG), len(_PNG)
    while True:
        length = int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        chunk = data[at : at + length + 12]
        if len(chunk) < length + 12:
            raise ValueError(f"a broken chunk at byte {at}")
        at += len(chunk)
        if name == b"IDAT" and exif:
            crc = struct.pack(">I", zlib.crc32(b"eXIf" + exif))
            out += struct.pack(">I", len(exif)) + b"eXIf" + exif + crc
            exif = b""
        if _PNG_KEPT.fullmatch(name):
            out += chunk
        if name == b"IEND":
            return bytes(out)


def _webp(data: bytes) -> bytes:
    exif = _minimal_exif(data).removeprefix(b"Exif\0\0")
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    out, at = bytearray(), 12
    while at + 8 <= end:
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        chunk = bytearray(data[at : at + 8 + length + length % 2])
        if len(chunk) < 8 + length:
            raise ValueError(f"a broken chunk at byte {at}")
        at += 8 + length + length % 2
        if name == b"VP8X":
            chunk[8] &= ~(_WEBP_XMP | (0 if exif else _WEBP_EXIF))
        if name in _WEBP_KEPT:
            out += chunk
    if exif:
        out += b"EXIF" + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2)
    return b"RIFF" + struct.pack("<I", len(out) + 4) + b"WEBP" + bytes(out)


def _other(data: bytes) -> bytes:
    """Return an image of another format as PNG, if it says something; all else as it is."""
    try:
        image = PIL.Image.open(io.BytesIO(data))
    except PIL.UnidentifiedImageError:
        if data[4:8] == b"ftyp":  # HEIC, where nothing reads it
            raise
        return data
    with image:
        says = any(image.info.get(name) for name in _INFO_PRIVATE)
        if not says and not _TIFF_PRIVATE & set(image.getexif()):
            return data
    from omnitrace.media.image import load_image

    file = io.BytesIO()
    load_image(data).pixels.save(file, "PNG")
    return file.getvalue()


# --- MP4, QuickTime and their kin: blanked in place, since tables hold places in the file ---------


class _Box(NamedTuple):
    name: bytes
    start: int
    body: int
    end: int


_PRIVATE_BOXES: Final = (b"udta", b"meta", b"uuid")
_CONTAINERS: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
# Boxes, and tags in them, that say no more than which program wrote the file.
_HARMLESS: Final = frozenset((b"hdlr", b"free", b"\xa9too", b"\xa9swr", b"\0\0\0\0"))
_NESTED: Final = (b"meta", b"ilst", b"udta")
# Tracks of data, where cameras write a position every second.
_DATA_TRACKS: Final = (b"meta", b"mdta", b"camm", b"gps ")


def _boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[_Box]:
    while start + 8 <= end:
        size, body = int.from_bytes(data[start : start + 4], "big"), start + 8
        if size == 1:
            size, body = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        stop = end if size == 0 else start + size
        if stop < body or stop > end:
            if not any(data[start:end]):  # QuickTime ends some lists with zeros
                return
            raise ValueError(f"a broken box at byte {start}")
        yield _Box(bytes(data[start + 4 : start + 8]), start, body, stop)
        start = stop


def _mp4(data: bytes) -> bytes:
    out = bytearray(data)
    _blank_private(out, 0, len(out))
    return bytes(out)


def _blank_private(out: bytearray, start: int, end: int) -> None:
    for box in list(_boxes(out, start, end)):
        if box.name in _PRIVATE_BOXES:
            if not _is_harmless(out, box):
                out[box.start + 4 : box.start + 8] = b"free"
                out[box.body : box.end] = bytes(box.end - box.body)
        elif box.name in (b"mvhd", b"tkhd", b"mdhd"):  # made and changed
            width = 16 if out[box.body] else 8
            out[box.body + 4 : box.body + 4 + width] = bytes(width)
        elif box.name in _CONTAINERS:
            if box.name == b"trak":
                _blank_data_track(out, box)
            _blank_private(out, box.body, box.end)


def _is_harmless(data: bytearray, box: _Box) -> bool:
    if box.name == b"uuid":
        return False
    body = box.body
    if box.name == b"meta" and data[body + 4 : body + 8] != b"hdlr":
        body += 4  # the version, which QuickTime leaves out
    return all(
        _is_harmless(data, inner) if inner.name in _NESTED else inner.name in _HARMLESS
        for inner in _boxes(data, body, box.end)
    )


def _blank_data_track(out: bytearray, track: _Box) -> None:
    found = {box.name: box for box in _all_boxes(out, track)}
    handler = found.get(b"hdlr")
    if handler is None or bytes(out[handler.body + 8 : handler.body + 12]) not in _DATA_TRACKS:
        return
    for place, size in _samples(out, found):
        stop = min(len(out), place + size)
        out[place:stop] = bytes(max(0, stop - place))


def _all_boxes(data: bytearray, box: _Box) -> Iterator[_Box]:
    for inner in _boxes(data, box.body, box.end):
        yield inner
        if inner.name in _CONTAINERS:
            yield from _all_boxes(data, inner)


def _samples(data: bytearray, table: dict[bytes, _Box]) -> Iterator[tuple[int, int]]:
    """Yield place and size of every sample of a track (ISO/IEC 14496-12, 8.7)."""
    wide = b"co64" in table
    chunks = _numbers(data, table[b"co64" if wide else b"stco"], 4, 8 if wide else 4)
    runs = _numbers(data, table[b"stsc"], 4, 4, fields=3)
    sizes = table[b"stsz"]
    same = int.from_bytes(data[sizes.body + 4 : sizes.body + 8], "big")
    each = iter(() if same else _numbers(data, sizes, 8, 4))
    starts = dict(zip(runs[::3], runs[1::3], strict=True))
    count = 0
    for number, place in enumerate(chunks, start=1):
        count = starts.get(number, count)
        for _ in range(count):
            size = same or next(each, -1)
            if size < 0:
                raise ValueError("a track has fewer sizes than places")
            yield place, size
            place += size


def _numbers(data: bytearray, box: _Box, skip: int, width: int, fields: int = 1) -> list[int]:
    """Return the numbers of a table, which begin behind ``skip`` bytes and their count."""
    begin = box.body + skip
    count = int.from_bytes(data[begin : begin + 4], "big") * fields
    begin += 4
    if begin + count * width > box.end:
        raise ValueError(f"a broken table at byte {box.start}")
    return [
        int.from_bytes(data[begin + i * width : begin + (i + 1) * width], "big")
        for i in range(count)
    ]
