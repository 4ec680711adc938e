"""The worker process that decodes media, as its parent sees it.

Native decoders may die or never return on damaged bytes, and nothing in their process can stop
that. So one child is kept that decodes for this process: started by the first medium, again when
it has died, and ended with us. It is told everything through its standard input, and what it
decoded comes back through its standard output (see ``_messages``): it never imports the user's
program, as the children of ``multiprocessing`` do.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import numpy as np

from omnitrace.errors import InputError, MediaError, NotSupportedError, OmnitraceError
from omnitrace.media._messages import Collected, Ended, fill, read_header, write
from omnitrace.media.limits import MediaLimits
from omnitrace.media.source import Source

__all__ = ["WORKER", "Worker"]

_MAIN: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from omnitrace.media._worker_child import main; main()"
)
# Importing the decoders takes less than a second; a busy machine may take many.
_START_SECONDS: Final = 120.0
# A worker that is not decoding ends at once when its standard input is closed.
_END_SECONDS: Final = 0.2
_PIPE_BYTES: Final = 1 << 20
_ERRORS: Final[dict[str, type[OmnitraceError]]] = {
    kind.__name__: kind for kind in (MediaError, InputError, NotSupportedError)
}
_TRUSTED: Final = "if you trust it, decode it in this process, with MediaLimits(isolate=False)"


class Worker:
    """A child process that decodes one medium after the other; safe to share among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process that was started last, None if none is kept."""
        return None if self._process is None else self._process.pid

    def decode(
        self, job: str, source: Source, limits: MediaLimits, **options: Any
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Decode a medium; return the values and the arrays that the job gives.

        Parameters
        ----------
        job:
            One of ``_worker_child.JOBS``.
        source, limits:
            What is decoded, and how far.
        options:
            Those of the job, JSON values.

        Raises
        ------
        MediaError
            If the medium cannot be decoded, or its decoder dies or takes too long.
        """
        request = {
            "job": job,
            "source": {
                "name": source.name,
                "path": None if source.path is None else str(source.path),
                "size": source.size,
                "held": source.data is not None,
            },
            "limits": dataclasses.asdict(limits),
            "options": options,
        }
        seconds = limits.seconds_for(source.size)
        with self._lock:
            process = self._running()
            deadline = _Deadline(process, seconds)
            try:
                with deadline:
                    values, arrays = _asked(process, request, source.data or b"")
            except (Ended, OSError):
                how = self._end()
                if deadline.passed:
                    raise _too_slow(source, seconds) from None
                raise _died(source, how) from None
            except BaseException:  # half an answer is in the pipe, after an interrupt too
                self._end()
                raise
        if "error" in values:
            raise _error(**values["error"])
        for warning in values["warnings"]:
            warnings.warn(*_warning(**warning), stacklevel=4)
        return values, arrays

    def close(self) -> None:
        """End the process, if there is one; the next medium starts another."""
        with self._lock:
            self._end()

    def leave(self) -> None:
        """Let go of the process, which belongs to the parent that we were forked from."""
        self._lock = threading.Lock()
        if self._process is not None:
            _close_pipes(self._process)
            self._process.returncode = 0  # so that nothing waits for it
        self._process = self._said = None

    def abandon(self) -> None:
        """End the process when Python ends, whatever other threads are doing with it."""
        self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, started if there is none that lives."""
        if self._process is not None and self._process.poll() is None:
            assert self._said is not None
            os.ftruncate(self._said.fileno(), 0)
            os.lseek(self._said.fileno(), 0, os.SEEK_SET)
            return self._process
        self._end()
        if not sys.executable or getattr(sys, "frozen", False):
            raise _not_started("there is no Python interpreter beside this program")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - kept as long as the process
        self._process = process = _start(self._said)
        try:
            with _Deadline(process, _START_SECONDS):
                read_header(_pipe(process.stdout))
        except (Ended, OSError):
            raise _not_started(self._end()) from None
        except BaseException:
            self._end()
            raise
        return process

    def _end(self) -> str:
        """End the process; return in words how it ended and what it said last."""
        process, self._process = self._process, None
        said, self._said = self._said, None
        if process is None:
            return ""
        _close_pipes(process)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # it is decoding
            process.kill()
            process.wait()
        words = _last_words(said)
        return _ending(process.returncode) + (f", saying {words!r}" if words else "")


def _start(said: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a worker, out of reach of a Ctrl-C in the terminal."""
    # As ours, so that it finds the same packages, also where a notebook has added a folder.
    paths = [str(Path(path).absolute()) for path in sys.path if isinstance(path, str)]
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        options = {
            "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        }
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _MAIN, json.dumps(paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        bufsize=0,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        **options,
    )
    if sys.platform == "linux":
        import fcntl

        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # more than the user may have
                fcntl.fcntl(_pipe(pipe), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process


class _Deadline:
    """Kills a process that takes longer than some seconds for what is done within.

    What waits for the process then reads the end of its pipe. A thread, because pipes cannot be
    waited for with a time limit on every system.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._pass)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._process.kill()


def _asked(
    process: subprocess.Popen[bytes], request: dict[str, Any], data: bytes
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Send a request and receive its answer."""
    answers = _pipe(process.stdout)
    write(_pipe(process.stdin), request, data)
    collected = Collected()
    while True:
        message, size = read_header(answers)
        if "begin" in message:
            collected.begin(message["begin"], tuple(message["shape"]), message["dtype"])
        elif "rows" in message:
            fill(answers, collected.take(size))
        else:
            return message, collected.arrays


def _pipe(file: IO[bytes] | None) -> io.RawIOBase:
    assert isinstance(file, io.RawIOBase)  # bufsize=0
    return file


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            _pipe(pipe).close()


def _warning(text: str, module: str, name: str) -> tuple[str, type[Warning]]:
    """Return the arguments of ``warnings.warn`` for a warning of the worker."""
    category = getattr(sys.modules.get(module), name, None)
    if not (isinstance(category, type) and issubclass(category, Warning)):
        category = UserWarning
    return text, category


def _error(kind: str, found: str, legal: str, fix: str, note: str) -> OmnitraceError:
    made = _ERRORS.get(kind, MediaError)(found, legal=legal, fix=fix)
    if note:
        made.add_note(note)
    return made


def _too_slow(source: Source, seconds: float) -> MediaError:
    return MediaError(
        f"decoding {source.label} took longer than {seconds:.3g} s",
        legal="as long as MediaLimits.max_decode_seconds says, and a second more for each MB",
        fix="convert it with ffmpeg, cut it, or raise MediaLimits(max_decode_seconds=…)",
    )


def _died(source: Source, how: str) -> MediaError:
    return MediaError(
        f"{source.label} made its decoder fail: the process that decodes media {how}",
        legal="a file that its decoder survives",
        fix=f"check the file, or convert it with ffmpeg; {_TRUSTED}",
    )


def _not_started(why: str) -> MediaError:
    return MediaError(
        f"the process that decodes media cannot be started: {why}",
        legal="a Python interpreter that can import omnitrace",
        fix=_TRUSTED,
    )


def _ending(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"ended with the exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by the signal {-code}"


def _last_words(said: IO[bytes] | None) -> str:
    """Return the last line that a worker wrote to its standard error."""
    if said is None:
        return ""
    with said:
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


#: The worker of this process.
WORKER: Final = Worker()
atexit.register(WORKER.abandon)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKER.leave)
