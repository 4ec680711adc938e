"""Requests traced in other processes, on this machine or on many, into one run folder."""

from __future__ import annotations

import contextlib
import functools
import itertools
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from omnitrace.errors import OmnitraceError
from omnitrace.runs.loop import RequestDone, RequestFailed, run_requests
from omnitrace.runs.run import Run
from omnitrace.sources.request_files import FileEntry, RequestEntry, RequestProblem

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["Executor", "RequestSaved", "RequestWorker", "run_elsewhere"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_Result: TypeAlias = tuple[str, str | Path | None, Exception | None]


class Executor(Protocol):
    """Runs work in processes of its own, on one machine or on many."""

    def map(
        self, make_worker: Callable[[], Callable[[_T], _R]], items: Iterable[_T]
    ) -> Generator[_R, None, None]:
        """Yield the result of each item, in the order in which they are ready.

        An item whose process dies is handed out again, to another one: the worker counts how often
        it begins an item, and gives it up. Closing the generator ends the processes.

        Parameters
        ----------
        make_worker:
            Makes, once in each process, what turns an item into its result. All three are pickled.
        items:
            Read as they are needed.
        """
        ...


@dataclass(frozen=True, slots=True)
class RequestSaved:
    """Another process traced a request; ``path`` is where it wrote the trace."""

    entry: RequestEntry
    path: Path | str


def run_elsewhere(
    executor: Executor,
    load: Callable[[], Tracer],
    entries: Iterable[FileEntry],
    run: Run,
    *,
    batch_size: int = 1,
    **options: Any,
) -> Generator[RequestSaved | RequestFailed, None, None]:
    """Trace requests in the processes of an executor, as :func:`run_requests` does in this one.

    Leaving the loop ends the processes, and takes back that they began requests.

    Parameters
    ----------
    executor:
        What starts the processes and hands out the requests.
    load:
        Makes the tracer in each process; it is pickled.
    entries:
        The requests, read as they are needed.
    run:
        Where traces are kept; every process opens it.
    batch_size:
        How many requests are handed out, and run by the model, at once.
    options:
        As for :func:`run_requests`.

    Raises
    ------
    OmnitraceError
        If the model cannot be loaded, or is not the one that the run was begun with.
    """
    problems: deque[RequestFailed] = deque()
    handed_out: dict[str, RequestEntry] = {}

    def requests() -> Iterator[RequestEntry]:
        # What is to be made again is decided where the model is: it may be another.
        for entry in entries if run.on_change == "redo" else run.todo(entries):
            if isinstance(entry, RequestProblem):
                run.failed(entry, entry.error)
                problems.append(RequestFailed(entry, entry.error))
            else:
                handed_out[entry.id] = entry
                # A process may work in another folder.
                yield replace(entry, media_root=entry.media_root.absolute())

    def batches() -> Iterator[tuple[RequestEntry, ...]]:
        following = requests()
        return iter(lambda: tuple(itertools.islice(following, batch_size)), ())

    options["batch_size"] = batch_size
    worker = functools.partial(RequestWorker, load, run, options)
    try:
        with contextlib.closing(executor.map(worker, batches())) as finished:
            for number, results in enumerate(finished):
                if number == 0:
                    run.update()  # they noted the model
                while problems:
                    yield problems.popleft()
                for name, path, error in results:
                    entry = handed_out.pop(name)
                    if error is not None:
                        yield RequestFailed(entry, error)
                    elif path is not None:
                        yield RequestSaved(entry, path)
    except BaseException:  # the processes are gone, and their requests not to blame
        for entry in handed_out.values():
            run.take_back(entry)
        raise
    yield from problems


class RequestWorker:
    """Traces requests into a run folder, in a process of its own; calling it does some.

    Parameters
    ----------
    load, run, options:
        As for :func:`run_elsewhere`.
    """

    def __init__(
        self, load: Callable[[], Tracer], run: Run, options: Mapping[str, Any] | None = None
    ) -> None:
        self._tracer = load()
        self._run = run
        self._options = dict(options or {})
        run.bind(self._tracer.adapter)

    def __call__(self, entries: Iterable[FileEntry]) -> list[_Result]:
        """Return the id of each request, where its trace is, and why there is none.

        Neither of those two where the trace was there already, or another process works on it.
        """
        found: dict[str, _Result] = {}
        entries = list(entries)
        for event in run_requests(self._tracer, entries, self._run, **self._options):
            if isinstance(event, RequestDone) and event.path is not None:
                found[event.entry.id] = event.entry.id, event.path, None
            elif isinstance(event, RequestFailed):
                found[event.entry.id] = event.entry.id, None, _movable(event.error)
        return [found.get(each.id, (each.id, None, None)) for each in entries]


def _movable(error: Exception) -> Exception:
    """Return an error that can be sent to another process; a stranger's may not let itself be."""
    if isinstance(error, OmnitraceError):
        return error
    moved = RuntimeError(f"{type(error).__name__}: {error}")
    moved.add_note("".join(traceback.format_exception(error)))
    return moved
