"""The lines of a file of any size, each at most as long as a text may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omnitrace._utils.files import MAX_TEXT_BYTES, open_regular

__all__ = ["TOO_LONG", "Line", "iter_lines"]

#: What is said of a line whose data are None.
TOO_LONG: Final = f"has more than {MAX_TEXT_BYTES // 2**20} MiB"


@dataclass(frozen=True, slots=True)
class Line:
    """A line that holds something.

    Parameters
    ----------
    number:
        Its place in the file, from 1; empty lines count.
    start:
        The byte at which it begins.
    data:
        Its bytes, with what ends it; None where they are more than
        :data:`~omnitrace._utils.files.MAX_TEXT_BYTES`.
    """

    number: int
    start: int
    data: bytes | None


def iter_lines(path: Path) -> Iterator[Line]:
    r"""Yield the lines of a file that hold something, with one of them in memory.

    Only "\\n" ends a line: others that ``str.splitlines`` knows may stand in JSON strings.

    Raises
    ------
    OSError, ValueError
        If the file is not regular, or cannot be read, also further on; the text says why.
    """
    number = start = 0
    with open_regular(path) as file:
        while line := file.readline(MAX_TEXT_BYTES + 1):
            number += 1
            if len(line) > MAX_TEXT_BYTES:
                yield Line(number, start, None)
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_TEXT_BYTES)
            elif line.strip():
                yield Line(number, start, line)
            start = file.tell()
