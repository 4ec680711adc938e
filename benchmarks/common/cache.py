"""What was computed, kept by the content that it follows from.

Everything has a *key*: JSON-ready values that say all that the result depends on. Its SHA-256 names
the file, so that a run that was killed goes on where it was, a second one finds everything, and
nothing is found that would come out differently today.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from omnitrace._utils.files import write_atomically

__all__ = ["CACHE", "Kept", "code_digest", "digest_of", "installed_version"]

CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omnitrace" / "benchmarks"
)


def digest_of(key: Any) -> str:
    """Return the SHA-256 of a JSON-ready value."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def code_digest(*roots: Path) -> str:
    """Return a SHA-256 of Python files, folders standing for all of those below them."""
    found = hashlib.sha256()
    for root in roots:
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            found.update(path.relative_to(root.parent).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class Kept:
    """A folder of results.

    Parameters
    ----------
    folder:
        It need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, key: Mapping[str, Any], suffix: str) -> Path:
        """Return where the result of this key is, or would be; its folder exists."""
        place = self.folder / kind / f"{digest_of(key)}{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def document(
        self, kind: str, key: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the JSON document of this key; it is made where there is none yet."""
        path = self.path(kind, key, ".json")
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["value"]
            return found
        value = make()
        text = json.dumps({"key": key, "value": value}, ensure_ascii=False, allow_nan=False)
        with write_atomically(path) as file:
            file.write(text.encode())
        return value
