"""The members of a trace file, a folder or a zip, read within limits of our own.

What a file says of the sizes inside it is a claim: a few bytes can claim, and a small zip can
unpack to, more than a machine has. So every size has a limit here that no claim moves, and a trace
beyond it is not written either.
"""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NoReturn, Protocol

from omnitrace._utils.files import MAX_TEXT_BYTES, open_regular, what_is
from omnitrace.errors import TraceFileError

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MAX_MEMBER_BYTES",
    "SUFFIX",
    "Members",
    "media_limit",
    "opened",
    "refuse",
]

SUFFIX: Final = ".omnitrace"

MAX_DOCUMENT_BYTES: Final = MAX_TEXT_BYTES
#: Largest tensor file, and largest stored medium: 4,096 tokens after a prompt of 128,000.
MAX_MEMBER_BYTES: Final = 2**31

_MAX_DIRECTORY_BYTES: Final = 4 * 2**20  # of a zip: 40,000 media
_MEDIA_FREE_BYTES: Final = 256 * 2**20
_MEDIA_GROWTH: Final = 20  # media hardly shrink in a zip
_END: Final = b"PK\x05\x06"
_END_64: Final = b"PK\x06\x07"
_END_BYTES: Final = 22 + 2**16  # with the longest comment


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise the error of a trace that cannot be read."""
    raise TraceFileError(
        f"cannot read the trace {path}: {reason}",
        legal=f"a folder or an {SUFFIX} file that Trace.save wrote",
        fix="save the trace again, or fetch the file again",
    )


class Members(Protocol):
    """The members of a trace, by name; ``read`` refuses what is missing or too large."""

    def read(self, name: str, limit: int) -> bytes:
        """Return a member of at most ``limit`` bytes."""
        ...

    @property
    def bytes_on_disk(self) -> int:
        """What the file, or the files of the folder, take on the disk."""
        ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str, limit: int) -> bytes:
        member = self._path / name
        if not what_is(member):
            refuse(self._path, f"{name} is missing")
        with open_regular(member) as file:
            return _within(self._path, name, file.read(limit + 1), limit)

    @property
    def bytes_on_disk(self) -> int:
        return sum(_occupied(each) for each in self._path.rglob("*") if each.is_file())


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive

    def read(self, name: str, limit: int) -> bytes:
        try:
            info = self._archive.getinfo(name)
        except KeyError:
            refuse(self._path, f"{name} is missing")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            refuse(self._path, f"{name} is compressed in a way that traces are not")
        # zipfile yields no more than the size stated here and checks the CRC at its end.
        if info.file_size > limit:
            _within(self._path, name, b"", limit, size=info.file_size)
        with self._archive.open(info) as file:
            return _within(self._path, name, file.read(), limit)

    @property
    def bytes_on_disk(self) -> int:
        return _occupied(self._path)


def _occupied(path: Path) -> int:
    """Return a file's size without its holes: a sparse file of terabytes costs nothing to send."""
    stat = path.stat()
    return min(stat.st_size, getattr(stat, "st_blocks", stat.st_size) * 512 + 4096)


def _within(path: Path, name: str, data: bytes, limit: int, *, size: int | None = None) -> bytes:
    if (len(data) if size is None else size) > limit:
        refuse(path, f"{name} is larger than the {limit} bytes that it can have")
    return data


def media_limit(members: Members) -> int:
    """Return how many bytes all media of a trace may have together."""
    return _MEDIA_FREE_BYTES + _MEDIA_GROWTH * members.bytes_on_disk


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Members]:
    """Open a trace file."""
    if what_is(path) == "folder":
        yield _Folder(path)
        return
    with open_regular(path) as file:
        _check_directory(path, file)
        with zipfile.ZipFile(file) as archive:
            yield _Zip(path, archive)


def _check_directory(path: Path, file: IO[bytes]) -> None:
    """Refuse a zip whose list of members alone is large; the library reads it whole."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES))
    tail = file.read()
    ends = [match.start() for match in re.finditer(re.escape(_END), tail)]
    if not ends or not zipfile.is_zipfile(file):
        refuse(path, "it is neither a folder nor a complete zip file")
    for end in ends:  # whichever of them the library takes
        directory = int.from_bytes(tail[end + 12 : end + 16], "little")
        if _END_64 in tail[max(0, end - 20) : end] or directory > _MAX_DIRECTORY_BYTES:
            refuse(path, "the list of its members is larger than that of any trace")
