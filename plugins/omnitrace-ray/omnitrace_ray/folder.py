"""A run folder anywhere that fsspec reaches: object stores, HDFS, SFTP, memory."""

from __future__ import annotations

import posixpath
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fsspec

from omnitrace.errors import RunError
from omnitrace.trace.request_record import RequestRecord, read_record

if TYPE_CHECKING:
    from omnitrace import Trace

__all__ = ["FsspecFolder"]

#: Of this process among all that write to a folder.
_PROCESS: Final = uuid.uuid4().hex


class FsspecFolder:
    """A folder of a run at a URL, with the same files as one of this machine.

    An object store has no locks and no appending: every process writes failures to a file of its
    own, and requests are kept apart by who hands them out, not by the folder.

    Parameters
    ----------
    url:
        As fsspec takes it: ``s3://bucket/run``, ``gs://…``, ``file:///…``, ``memory://…``.
    storage_options:
        For the file system, such as keys.

    Raises
    ------
    RunError
        If the file system is unknown, not installed, or does not let itself be used.
    """

    def __init__(self, url: str, **storage_options: Any) -> None:
        self.url = url.rstrip("/")
        self._options = storage_options
        try:
            self._files, self._root = fsspec.url_to_fs(self.url, **storage_options)
            self._files.makedirs(self._root, exist_ok=True)
        except (OSError, ValueError, ImportError) as error:
            raise _unusable("use", self.url, error) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.url, self._options)

    def __str__(self) -> str:
        return self.url

    def read(self, name: str) -> bytes | None:
        """Return a small file, or the lines that all processes added to it; None without any."""
        own = self._read(self._path(name))
        added = [self._read(path) for path in self._listed(self._path(f"{name}.d"))]
        found = [data for data in (own, *added) if data is not None]
        return b"".join(found) if found else None

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        path = self._path(name)
        try:
            self._files.makedirs(posixpath.dirname(path), exist_ok=True)
            with self._files.open(path, "wb", autocommit=False) as file:
                file.write(data)
            file.commit()
        except OSError as error:
            raise _unusable("write", path, error) from error

    def append(self, name: str, line: str) -> None:
        """Add a line to this process's part of a file."""
        part = f"{name}.d/{_PROCESS}"
        before = self._read(self._path(part)) or b""
        self.write(part, before + f"{line}\n".encode("utf-8", "replace"))

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        try:
            found: bool = self._files.exists(self._path(name))
        except OSError as error:
            raise _unusable("read", self._path(name), error) from error
        return found

    def names(self, ending: str) -> Iterator[str]:
        """Yield the names of the files that end so, in order."""
        for path in self._listed(self._root):
            if path.endswith(ending):
                yield posixpath.basename(path)

    def claim(self, name: str) -> _Claim:
        """Take a file of lines for this process."""
        return _Claim(self, name)

    def save_trace(self, name: str, trace: Trace, request: RequestRecord, **options: bool) -> str:
        """Write a trace with its record, whole or not at all; return its URL."""
        with tempfile.TemporaryDirectory() as here:
            path = trace.save(Path(here) / name, request=request, **options)
            self.write(name, path.read_bytes())
        return f"{self.url}/{name}"

    def record(self, name: str) -> RequestRecord | None:
        """Return the record of a trace, None where there is none."""
        try:
            with self._files.open(self._path(name), "rb") as file:
                return read_record(file)
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unusable("write", self._path(name), error) from error

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    def _read(self, path: str) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable("read", path, error) from error
        return data

    def _listed(self, folder: str) -> list[str]:
        """Return the paths of the files of a folder, in order; none where there is no folder."""
        self._files.invalidate_cache()  # other processes write there
        try:
            return sorted(
                each["name"]
                for each in self._files.ls(folder, detail=True)
                if each["type"] == "file"
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable("read", folder, error) from error


class _Claim:
    """A small file of lines; nothing keeps others from it."""

    def __init__(self, folder: FsspecFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._before: list[str] | None = None

    def lines(self) -> list[str]:
        """Return what it holds."""
        return (self._folder.read(self._name) or b"").decode("utf-8", "replace").splitlines()

    def add(self, line: str) -> None:
        """Add a line."""
        self._before = self.lines()
        self._write([*self._before, line])

    def withdraw(self) -> None:
        """Take the line back that was added last, or go on with removing the file."""
        if self._before:
            self._write(self._before)
        elif self._before is not None:
            self.remove()

    def drop(self) -> None:
        """Take the last line back, whoever added it."""
        self._before = self.lines()[:-1]
        self.withdraw()

    def remove(self) -> None:
        """Remove the file."""
        self._before = []
        self._folder.remove(self._name)

    def _write(self, lines: list[str]) -> None:
        self._folder.write(self._name, "".join(f"{line}\n" for line in lines).encode())


def _again(url: str, options: dict[str, Any]) -> FsspecFolder:
    return FsspecFolder(url, **options)


def _unusable(what: str, path: str, error: Exception) -> RunError:
    return RunError(
        f"cannot {what} {path!r}: {error}",
        legal="a URL that fsspec reaches, such as s3://bucket/folder",
        fix="install what fsspec needs for it (s3fs, gcsfs, …), and check its keys",
    )
