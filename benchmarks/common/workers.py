"""Worker processes for benchmarks that go through samples one after the other.

Every worker runs *setup* once, which loads what all tasks need, such as a model, and computes with
one thread. What a benchmark keeps by content, workers can simply fill: each asks for what the
parent will ask for, in the same order, after which the parent runs as with one process, and finds
everything. Temporary files of workers lie in a folder of the parent's (below ``TMPDIR``, as ever),
which goes when they end, however they end.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.progress import track

from common.report import BenchmarkError

__all__ = ["Workers", "add_processes", "each_of", "workers_of"]

#: What a worker computes: from what its setup returned and an item to a result.
Task = Callable[[Any, Any], Any]

#: What numpy's and torch's libraries take their number of threads from when they are loaded.
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def add_processes(made: argparse.ArgumentParser, what: str) -> None:
    """Add the option that lets several processes work through ``what``."""
    made.add_argument(
        "--processes",
        type=_processes,
        default=1,
        metavar="N",
        help=f"workers of one thread that share {what}; the figures stay (%(default)s)",
    )


def _processes(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{count}: at least 1")
    return count


def workers_of(
    processes: int, setup: Callable[..., Any], *arguments: Any
) -> contextlib.AbstractContextManager[Workers | None]:
    """Return workers, or nothing where one process is enough; see :class:`Workers`."""
    return Workers(processes, setup, *arguments) if processes > 1 else contextlib.nullcontext()


def each_of(
    workers: Workers | None,
    task: Task,
    items: Sequence[Any],
    *,
    state: Callable[[], Any],
    what: str,
) -> Iterable[Any]:
    """Give what a task finds of each item, in their order: found by workers, or here without any.

    ``state`` returns what the task needs here; the rest is as for :meth:`Workers.map`.
    """
    if workers is not None:
        return workers.map(task, items, what=what)
    own = state()
    return (task(own, item) for item in track(items, description=what))


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a task has no result; an exception may not survive the way between two processes."""

    text: str


class Workers:
    """Processes that work side by side, as long as the ``with`` block lasts.

    Parameters
    ----------
    processes:
        How many.
    setup:
        A function of a module, which each of them calls once.
    arguments:
        Those of ``setup``.
    """

    def __init__(self, processes: int, setup: Callable[..., Any], *arguments: Any) -> None:
        self.processes = processes
        self._others = set(multiprocessing.active_children())
        self._folder = tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-")
        self._executor = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_Worker.start,
            initargs=(self._folder.name, setup, arguments),
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End; where something failed or Ctrl-C came, without waiting for what is under way."""
        if kind is not None:
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self._executor.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def map(self, task: Task, items: Sequence[Any], *, what: str) -> list[Any]:
        """Return what a task finds of each item, in the order of the items.

        Parameters
        ----------
        task:
            A function of a module.
        items:
            What can be sent to another process.
        what:
            What is done, for the progress bar.

        Raises
        ------
        BenchmarkError
            If a task or the setup fails, or a worker ends; no more tasks are begun then.
        """
        try:
            with _starting():
                futures = [self._executor.submit(_Worker.run, task, item) for item in items]
            for done in track(as_completed(futures), description=what, total=len(futures)):
                _result(done)
            return [_result(future) for future in futures]
        except BrokenProcessPool as error:
            raise BenchmarkError(
                f"a worker process ended while {what}: what it said, if anything, stands above; "
                f"where memory ran out, give fewer --processes than {self.processes}"
            ) from error


def _result(future: Future[Any]) -> Any:
    found = future.result()
    if isinstance(found, _Failed):
        raise BenchmarkError(found.text)
    return found


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Let processes that are started here have one thread, and leave Ctrl-C to the parent.

    They inherit both before they have run a line of their own.
    """
    before = {name: os.environ[name] for name in _THREADS if name in os.environ}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ |= dict.fromkeys(_THREADS, "1")
    try:
        yield
    finally:
        for name in _THREADS:
            del os.environ[name]
        os.environ |= before
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class _Worker:
    """What a worker process holds."""

    state: ClassVar[Any] = None

    @classmethod
    def start(cls, folder: str, setup: Callable[..., Any], arguments: Sequence[Any]) -> None:
        """Load what all tasks need."""
        threading.Thread(target=_end_with_parent, daemon=True).start()
        tempfile.tempdir = folder
        cls.state = _tried(setup, *arguments)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)  # whatever the parent's are

    @classmethod
    def run(cls, task: Task, item: Any) -> Any:
        """Run a task on an item, or say what failed."""
        return cls.state if isinstance(cls.state, _Failed) else _tried(task, cls.state, item)


def _tried(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        from omnitrace.errors import OmnitraceError  # late: it loads the whole library

        if isinstance(error, BenchmarkError | OmnitraceError):
            return _Failed(str(error))
        whole = "".join(traceback.format_exception(error)).rstrip()
        return _Failed(f"a worker process failed: {error!r}\n{whole}")


def _end_with_parent() -> None:
    """End when the parent has ended, even if it was killed and could say nothing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
