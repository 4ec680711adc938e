"""Files and folders that users name, with errors that say what is wrong with them."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from omnitrace.errors import InputError

__all__ = ["make_folder", "read_text", "write_atomically"]


def make_folder(folder: Path) -> Path:
    """Make a folder, where there is none, before any work is spent on what it is for.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot make the folder {str(folder)!r}: {reason}") from error
    return folder


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
        If the file cannot be read or is not UTF-8.
    """
    named = f"{subject}: " if subject else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{named}{str(path)!r} is not UTF-8 (byte {error.start})", fix="save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{named}cannot read {str(path)!r}: {reason}", legal=legal) from error


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of ``path`` when the block ends without an error."""
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
