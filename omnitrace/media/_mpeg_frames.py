"""The frames of an MP3 file, without decoding: where one recording ends and the next begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FRAME_SAMPLES", "counts_frames", "recordings_of_mp3"]

#: The most samples of a frame.
FRAME_SAMPLES: Final = 1152

# kbit/s of layer III, by version 1 or 2 (2.5 as 2), and Hz by version.
_KILOBITS: Final = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ: Final = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
# Encoders disagree by a frame on how many a file has.
_SLACK: Final = 2


@dataclass(frozen=True, slots=True)
class _Frame:
    """Bytes, what a decoder must be set up for, and where a table of the recording would stand."""

    length: int
    kind: tuple[int, bool]
    table: int


def recordings_of_mp3(data: bytes) -> list[int]:
    """Return where recordings begin behind the first: empty for one, and where it is no MP3.

    A recording begins at a table of contents (Xing, Info, VBRI), behind the frames that the table
    before counts, and where the rate or the number of channels changes.
    """
    at = _tags(data, 0)
    frame = _frame(data, at)
    if frame is None:
        return []
    starts: list[int] = []
    kind = frame.kind
    count, announced, behind = 0, _announced(data, at, frame) or 0, -1
    at += frame.length
    while at < len(data):
        frame = _frame(data, at)
        if frame is None:
            at = _next(data, at)
            continue
        table = _announced(data, at, frame)
        if table is not None or frame.kind != kind:
            starts.append(at)
            kind, count, announced, behind = frame.kind, 0, table or 0, -1
        else:
            count += 1
            if announced and count == announced + 1:
                behind = at
            if behind >= 0 and count == announced + 1 + _SLACK:
                starts.append(behind)
                announced, behind = 0, -1
        at += frame.length
    return starts


def counts_frames(data: bytes) -> bool:
    """Whether an MP3 recording begins with a table that says how many frames it has."""
    at = _tags(data, 0)
    frame = _frame(data, at)
    return frame is not None and bool(_announced(data, at, frame))


def _frame(data: bytes, at: int) -> _Frame | None:
    """Read the header of a frame of layer III; None where there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return None
    version, rate, bits = data[at + 1] >> 3 & 3, data[at + 2] >> 2 & 3, data[at + 2] >> 4
    if version == 1 or rate == 3 or not 0 < bits < 15:
        return None
    first = version == 3
    kilobits = _KILOBITS[1 if first else 2][bits]
    hertz = _HERTZ[version][rate]
    mono = data[at + 3] >> 6 == 3
    length = (144 if first else 72) * 1000 * kilobits // hertz + (data[at + 2] >> 1 & 1)
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return _Frame(length, (hertz, mono), at + 4 + side)


def _announced(data: bytes, at: int, frame: _Frame) -> int | None:
    """Return the frames that a table of contents counts, 0 if it counts none; None without one."""
    place = frame.table
    if data[place : place + 4] in (b"Xing", b"Info"):
        counts = data[place + 7 : place + 8] and data[place + 7] & 1
        return int.from_bytes(data[place + 8 : place + 12], "big") if counts else 0
    if data[at + 36 : at + 40] == b"VBRI":
        return int.from_bytes(data[at + 50 : at + 54], "big")
    return None


def _tags(data: bytes, at: int) -> int:
    """Return where the tags end that begin here."""
    while at + 32 <= len(data):
        if data[at : at + 3] == b"ID3":
            size = 0
            for byte in data[at + 6 : at + 10]:
                size = size << 7 | byte & 0x7F
            at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
        elif data[at : at + 8] == b"APETAGEX":
            at += 32 + int.from_bytes(data[at + 12 : at + 16], "little")
        elif data[at : at + 3] == b"TAG":
            at += 128
        else:
            break
    return at


def _next(data: bytes, at: int) -> int:
    """Return where the next frame may begin, behind tags or damage."""
    behind = _tags(data, at)
    if behind > at:
        return behind
    while (at := data.find(b"\xff", at + 1)) >= 0:
        frame = _frame(data, at)
        # By chance two bytes look like a header; two headers at the right distance do not.
        if frame is not None and _frame(data, at + frame.length) is not None:
            return at
    return len(data)
