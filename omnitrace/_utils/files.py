"""Files and folders that users name, with errors that say what is wrong with them.

What is written takes its place when it is whole. Until then it is a *draft* beside it, which its
writer holds a lock on. A run that is killed leaves its draft behind; the next one that writes into
the same folder finds that nobody holds it, and removes it. A folder that is being replaced steps
aside first, and comes back where nothing took its place.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Literal

from omnitrace._utils.file_names import within_bytes
from omnitrace.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove what another has open
    fcntl = None  # type: ignore[assignment]

__all__ = ["draft_beside", "held_draft", "make_folder", "read_text", "write_atomically"]

_DRAFT: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.omnitrace\.(?P<kind>tmp|old)")
_NAME_BYTES: Final = 200  # with the ending below the 255 of most systems
_FRESH_SECONDS: Final = 1.0  # of a draft that its writer may not have locked yet


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
    draft = draft_beside(path)
    try:
        with draft.open("xb") as file, held_draft(draft):
            yield file
            file.close()
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def draft_beside(path: Path, kind: Literal["tmp", "old"] = "tmp") -> Path:
    """Return a new name in the folder of ``path``, and remove what killed runs left there.

    With "old" it is for what stood at ``path`` until now.
    """
    _remove_leftovers(path.parent)
    name = within_bytes(path.name, _NAME_BYTES)
    return path.with_name(f".{name}.{uuid.uuid4().hex[:8]}.omnitrace.{kind}")


@contextlib.contextmanager
def held_draft(draft: Path) -> Iterator[None]:
    """Let no other process take the draft, a file or a folder, for a leftover."""
    if fcntl is None:
        yield
        return
    handle = os.open(draft, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if (named := _DRAFT.fullmatch(entry.name)) is not None:
                draft = Path(entry.path)
                _remove_leftover(draft, draft.with_name(named["name"]), named["kind"])


def _remove_leftover(draft: Path, target: Path, kind: str) -> None:
    with contextlib.suppress(OSError):
        if time.time() - draft.lstat().st_mtime < _FRESH_SECONDS:
            return
        if fcntl is not None:
            handle = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(handle)
        if kind == "old" and not target.exists():
            draft.rename(target)
        elif draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink()
