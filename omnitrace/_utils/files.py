"""Files and folders that users name, with errors that say what is wrong with them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final, Literal

from omnitrace._utils.drafts import draft_beside, held_draft
from omnitrace.errors import InputError

__all__ = [
    "MAX_TEXT_BYTES",
    "check_output",
    "files_below",
    "in_folder",
    "make_folder",
    "open_output",
    "open_regular",
    "read_bytes",
    "read_text",
    "reason_of",
    "unreadable",
    "what_is",
    "write_atomically",
    "write_blocks",
    "write_bytes",
    "write_text",
]

#: Largest text file: a text may take four times as much in memory.
MAX_TEXT_BYTES: Final = 128 * 2**20


def make_folder(folder: Path) -> Path:
    """Make a folder that can be written to, before any work is spent on what it is for.

    Raises
    ------
    InputError
        If it cannot be made, or no file can be made in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = draft_beside(folder / "probe")
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        what = "write to" if what_is(folder) == "folder" else "make"
        found = f"cannot {what} the folder {str(folder)!r}: {reason_of(error)}"
        raise InputError(found, legal="a folder that files can be written to") from error
    return folder


def check_output(path: Path) -> None:
    """Refuse a file that could not be written, before any work is spent on what it is for.

    Its folder is made.

    Raises
    ------
    InputError
        If it is a folder, or no file can be made beside it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if what_is(path) == "folder":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if what_is(path) != "other":
            with contextlib.suppress(FileNotFoundError):
                path.lstat()  # a name too long for any file
            probe = draft_beside(path)
            probe.touch()
            probe.unlink()
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        raise _unwritable(path, error) from error


def what_is(path: Path) -> Literal["file", "folder", "other", ""]:
    """Say what a path leads to; "" where there is nothing, or what no path can be."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # too long for any file, a null character, a loop of links
        return ""
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def in_folder(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error


def files_below(folder: Path, ending: str, *, levels: int) -> list[Path]:
    """Return the files with an ending in a folder and in those at most ``levels`` below, sorted.

    Folders below that cannot be read, or are gone by then, hold none.

    Raises
    ------
    InputError
        If the folder itself cannot be read.
    """

    def refuse(error: OSError) -> None:
        if error.filename == os.fspath(folder):
            raise unreadable(folder, error) from error

    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        here = Path(place)
        found += [here / name for name in names if name.endswith(ending)]
        if len(here.relative_to(folder).parts) == levels:
            folders.clear()
    return sorted(found)


def reason_of(error: Exception) -> str:
    """Return why a file could not be used, without its name."""
    return str(getattr(error, "strerror", None) or error)


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read, if it is one: no pipe or device, which may never end, and no folder.

    Raises
    ------
    OSError, ValueError
        If it cannot be read; the text says why.
    """
    # Without O_NONBLOCK a pipe would wait for somebody to write; a regular file never waits.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    found = os.open(path, flags)
    try:
        mode = os.fstat(found).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return os.fdopen(found, "rb")
    except BaseException:
        os.close(found)
        raise


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Return the bytes of a regular file of at most ``limit`` bytes.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, is something else, or is larger; the text says why.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    if max(size, len(data)) > limit:  # some files say that they are empty, or grow meanwhile
        raise ValueError(f"it has more than {limit // 2**20} MiB")
    return data


def read_text(path: Path, *, legal: str, subject: str = "") -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Parameters
    ----------
    path:
        The file.
    legal:
        What a user may name instead, for the error of a file that cannot be read.
    subject:
        What named the file, for instance an option; it leads the error.

    Raises
    ------
    InputError
        If the file cannot be read, is no regular file, is larger than :data:`MAX_TEXT_BYTES` or is
        not UTF-8.
    """
    named = f"{subject}: " if subject else ""
    try:
        return read_bytes(path, limit=MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{named}{str(path)!r} is not UTF-8 (byte {error.start})", fix="save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        raise unreadable(path, error, legal=legal, lead=named) from error


def unreadable(path: Path, error: Exception, *, legal: str = "", lead: str = "") -> InputError:
    """Return the error of a file that cannot be read; ``lead`` are its first words."""
    return InputError(f"{lead}cannot read {str(path)!r}: {reason_of(error)}", legal=legal)


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of ``path`` when the block ends without an error.

    What is no file, such as ``/dev/stdout`` or a pipe, is written to and stays what it is.
    """
    if what_is(path) == "other":
        with path.open("wb") as stream:
            yield stream
        return
    draft = draft_beside(path)
    try:
        with draft.open("xb") as file, held_draft(draft):
            yield file
            file.close()
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text as UTF-8; see :func:`write_bytes`.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    return write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file, and its folder where there is none; it is replaced whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    return write_blocks(path, (data,))


def write_blocks(path: str | Path, blocks: Iterable[bytes]) -> Path:
    """Write a file as :func:`write_bytes` does, of blocks that are made while it is written."""
    path = Path(path)
    with open_output(path) as file:
        for block in blocks:
            file.write(block)
    return path


@contextlib.contextmanager
def open_output(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that a user named, as :func:`write_atomically`; its folder is made.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as file:
            yield file
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"cannot write {str(path)!r}: {reason_of(error)}",
        legal="the path of a file in a folder that can be written to",
    )
