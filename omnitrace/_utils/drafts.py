"""Drafts: what is written takes its place when it is whole.

Until then it lies beside it, and its writer holds a lock on it. A run that is killed leaves its
draft behind; the next one that writes into the same folder finds that nobody holds it, and removes
it. A folder that is being replaced steps aside first, and comes back where nothing took its place.
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
from typing import Final, Literal

from omnitrace._utils.file_names import within_bytes

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove what another has open
    fcntl = None  # type: ignore[assignment]

__all__ = ["draft_beside", "held_draft"]

_DRAFT: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.omnitrace\.(?P<kind>tmp|old)")
_NAME_BYTES: Final = 200  # with the ending below the 255 of most systems
_FRESH_SECONDS: Final = 1.0  # of a draft that its writer may not have locked yet


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
