"""Folders: which ones media may lie in, and names for files that tell nothing of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

__all__ = ["as_root", "base_of_path", "without_paths"]


def as_root(media_root: str | os.PathLike[str] | None) -> Path | None:
    """Return a media root as a path; one that does not confine stays one."""
    if media_root is None or isinstance(media_root, Path):
        return media_root
    return Path(media_root)


def base_of_path(name: str) -> str:
    """Return the last part of an absolute path, or of one that begins at home or at a dot."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or name.startswith((".", "~")):
        return posix.name or name
    return windows.name if windows.is_absolute() else name


def without_paths(value: Any) -> Any:
    """Return JSON values with every string in them as :func:`base_of_path` gives it."""
    if isinstance(value, str):
        return base_of_path(value)
    if isinstance(value, Mapping):
        return {key: without_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(each) for each in value]
    return value
