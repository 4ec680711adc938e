"""What the worker process and its parent say to each other, and how: no pickle, arrays as they are.

A message is a JSON object and raw bytes, with the lengths of both before them. The parent asks::

    {"job", "source": {"name", "path", "size", "held"}, "limits", "options"} and the bytes held

and the worker answers with any number of arrays, each begun and then filled from its beginning,
and with one message that ends the answer::

    {"begin": name, "shape", "dtype"}
    {"rows": true} and the bytes of some rows
    {"values", "warnings"}
    {"error": {"kind", "found", "legal", "fix", "note"}, "warnings"}
"""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any, Final, Protocol

import numpy as np

__all__ = ["Collected", "Ended", "Sink", "fill", "read_header", "write"]

_LENGTHS: Final = struct.Struct("<IQ")


class Ended(Exception):  # noqa: N818 - no fault of its own
    """The other side has gone."""


class Sink(Protocol):
    """Where decoded arrays go, some rows at a time, so that nothing large is held twice."""

    def begin(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Begin an array; one of the same name that was begun before is void."""

    def add(self, rows: np.ndarray) -> None:
        """Add rows to the array that was begun last."""


class Collected:
    """The arrays themselves.

    Attributes
    ----------
    arrays:
        By name, complete once everything was added.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._rest = memoryview(b"")

    def begin(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Allocate an array."""
        flat = np.empty(math.prod(shape), dtype)
        self.arrays[name] = flat.reshape(shape)
        self._rest = flat.view(np.uint8).data

    def add(self, rows: np.ndarray) -> None:
        """Copy rows to where the last ones ended."""
        taken = self.take(rows.nbytes)
        np.frombuffer(taken, rows.dtype).reshape(rows.shape)[...] = rows

    def take(self, size: int) -> memoryview:
        """Return the memory of the next ``size`` bytes, which the caller fills."""
        if size > len(self._rest):
            raise Ended(f"{size} bytes came for {len(self._rest)}")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def write(file: io.RawIOBase, header: dict[str, Any], payload: memoryview | bytes = b"") -> None:
    """Write a message to an unbuffered pipe."""
    packed = json.dumps(header).encode("ascii")
    for part in (_LENGTHS.pack(len(packed), len(payload)) + packed, payload):
        rest = memoryview(part)
        while rest:
            rest = rest[file.write(rest) :]


def read_header(file: io.RawIOBase | io.BufferedReader) -> tuple[dict[str, Any], int]:
    """Read a message up to its raw bytes, and return how many of those follow."""
    lengths = memoryview(bytearray(_LENGTHS.size))
    fill(file, lengths)
    size, follow = _LENGTHS.unpack(lengths)
    packed = memoryview(bytearray(size))
    fill(file, packed)
    header: dict[str, Any] = json.loads(bytes(packed))
    return header, follow


def fill(file: io.RawIOBase | io.BufferedReader, view: memoryview) -> None:
    """Read as many bytes as fit into the view.

    Raises
    ------
    Ended
        If the other side has gone before.
    """
    while view:
        read = file.readinto(view)
        if not read:
            raise Ended
        view = view[read:]
