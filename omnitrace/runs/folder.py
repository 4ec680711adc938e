"""Where a run keeps its files: a folder of this machine, or what stands in for one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from omnitrace._utils.files import MAX_TEXT_BYTES, make_folder, read_bytes, reason_of, write_bytes
from omnitrace.errors import RunError
from omnitrace.trace.request_record import RequestRecord, read_record

if TYPE_CHECKING:
    from omnitrace.trace.trace import Trace

try:
    import fcntl
except ImportError:  # Windows: two processes on one request are not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["Claim", "Folder", "LocalFolder"]

_TRIES: Final = 100


class Claim(Protocol):
    """A small file of lines that one process at a time has."""

    def lines(self) -> list[str]:
        """Return what it holds."""
        ...

    def add(self, line: str) -> None:
        """Add a line that a power cut does not lose."""
        ...

    def withdraw(self) -> None:
        """Take the line back that was added last, and let others have the file.

        Where :meth:`remove` was begun, and maybe interrupted, go on with that.
        """
        ...

    def drop(self) -> None:
        """Take the last line back, whoever added it, and let others have the file."""
        ...

    def remove(self) -> None:
        """Remove the file, and let others have its name."""
        ...


class Folder(Protocol):
    """The files of a run, by names relative to it; another storage provides the same."""

    def read(self, name: str) -> bytes | None:
        """Return a small file, None where there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        ...

    def append(self, name: str, line: str) -> None:
        """Add a line to a file that several processes write to."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        ...

    def names(self, ending: str) -> Iterator[str]:
        """Yield the names of the files that end so, in order."""
        ...

    def claim(self, name: str) -> Claim | None:
        """Take a file of lines for this process; None where another process has it."""
        ...

    def save_trace(
        self, name: str, trace: Trace, request: RequestRecord, **options: bool
    ) -> str | Path:
        """Write a trace with its record, whole or not at all; return where it is."""
        ...

    def load_trace(self, name: str) -> Trace:
        """Read a trace."""
        ...

    def record(self, name: str) -> RequestRecord | None:
        """Return the record of a trace, None where there is none."""
        ...


class LocalFolder:
    """A folder of this machine.

    Parameters
    ----------
    path:
        The folder.
    read_only:
        Whether it is only read; else it is made, and tried.

    Raises
    ------
    InputError
        If it cannot be made or written to.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path) if read_only else make_folder(Path(path))

    def __str__(self) -> str:
        return str(self.path)

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path.absolute()}  # another process may work in another folder

    def read(self, name: str) -> bytes | None:
        """Return a small file, None where there is none."""
        try:
            return read_bytes(self.path / name, limit=MAX_TEXT_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _unusable("read", self.path / name, error) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        write_bytes(self.path / name, data)

    def append(self, name: str, line: str) -> None:
        """Add a line, in one call of the system: lines of several processes do not mix."""
        try:
            self.path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(handle, f"{line}\n".encode("utf-8", "replace"))
            finally:
                os.close(handle)
        except OSError as error:
            raise _unusable("write", self.path / name, error) from error

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return os.path.lexists(self.path / name)

    def names(self, ending: str) -> Iterator[str]:
        """Yield the names of the files that end so, in order."""
        try:
            with os.scandir(self.path) as entries:
                found = [each.name for each in entries if each.name.endswith(ending)]
        except OSError as error:
            raise _unusable("read", self.path, error) from error
        yield from sorted(found)

    def claim(self, name: str) -> _LocalClaim | None:
        """Take a file of lines for this process; None where another process has it."""
        try:
            return _claimed(self.path / name)
        except OSError as error:
            raise _unusable("write", self.path / name, error) from error

    def save_trace(self, name: str, trace: Trace, request: RequestRecord, **options: Any) -> Path:
        """Write a trace with its record, whole or not at all; return where it is."""
        return trace.save(self.path / name, request=request, **options)

    def load_trace(self, name: str) -> Trace:
        """Read a trace."""
        from omnitrace.trace.trace import Trace

        return Trace.load(self.path / name)

    def record(self, name: str) -> RequestRecord | None:
        """Return the record of a trace, None where there is none."""
        return read_record(self.path / name)


class _LocalClaim:
    """A file that this process has locked; the lock ends with the process, however it ends."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle
        self._length = os.fstat(handle).st_size

    def lines(self) -> list[str]:
        os.lseek(self._handle, 0, os.SEEK_SET)
        return os.read(self._handle, MAX_TEXT_BYTES).decode("utf-8", "replace").splitlines()

    def add(self, line: str) -> None:
        try:
            self._length = os.fstat(self._handle).st_size
            os.write(self._handle, f"{line}\n".encode())
            os.fsync(self._handle)
        except OSError as error:
            raise _unusable("write", self._path, error) from error

    def drop(self) -> None:
        kept = self.lines()[:-1]
        self._length = sum(len(line.encode()) + 1 for line in kept)
        self.withdraw()

    def withdraw(self) -> None:
        if self._length == 0:
            self.remove()
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, self._length)
        self._close()

    def remove(self) -> None:
        self._length = 0  # where Ctrl-C comes into this, to withdraw is to go on
        if self._handle >= 0:  # else the name may be another's by now
            if fcntl is None:  # on Windows what is open cannot be removed
                self._close()
            self._path.unlink(missing_ok=True)
            self._close()  # not before: another process would lock a file that is gone
        with contextlib.suppress(OSError):  # others have files there
            self._path.parent.rmdir()

    def _close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def _claimed(path: Path) -> _LocalClaim | None:
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except FileNotFoundError:  # another process removed the folder meanwhile
            continue
        if not _locked(handle):
            os.close(handle)
            return None
        if os.fstat(handle).st_nlink:
            return _LocalClaim(path, handle)
        os.close(handle)  # it was removed before it was locked: this name is free now
    return None


def _locked(handle: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _unusable(what: str, path: Path, error: Exception) -> RunError:
    return RunError(
        f"cannot {what} {str(path)!r}: {reason_of(error)}",
        legal="a run folder that files can be written to",
    )
