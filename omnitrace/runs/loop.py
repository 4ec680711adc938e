"""Trace requests, one after the other or in batches, and keep what is done."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from omnitrace.errors import InputError
from omnitrace.runs.attempts import marker_of
from omnitrace.runs.run import Run
from omnitrace.sources.request_files import FileEntry, RequestEntry, RequestProblem
from omnitrace.trace.events import EndEvent, Event, SpanEvent

if TYPE_CHECKING:
    import numpy as np

    from omnitrace.sources.messages import Conversation
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = [
    "RequestDone",
    "RequestEvent",
    "RequestFailed",
    "RequestStarted",
    "RunEvent",
    "run_requests",
]


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """A request is being traced now."""

    entry: RequestEntry


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """What ``Tracer.stream`` yields while the model responds to a request."""

    entry: RequestEntry
    event: Event


@dataclass(frozen=True, slots=True)
class RequestDone:
    """A request was traced; ``path`` is where the trace was written, None where nothing is kept."""

    entry: RequestEntry
    trace: Trace
    path: Path | str | None


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request failed, and the others go on; an error that is no OmnitraceError is a defect."""

    entry: FileEntry
    error: Exception


RunEvent: TypeAlias = RequestStarted | RequestEvent | RequestDone | RequestFailed
"""What happens in a run, as :func:`run_requests` yields it."""

_Responding: TypeAlias = Callable[[], contextlib.AbstractContextManager[Iterable[Event]]]


def run_requests(
    tracer: Tracer | Callable[[], Tracer],
    entries: Iterable[FileEntry],
    run: Run | None = None,
    *,
    live: bool = False,
    batch_size: int = 1,
    measured: Callable[[np.ndarray], None] | None = None,
    **options: Any,
) -> Generator[RunEvent, None, None]:
    """Trace requests one after the other, or in batches, and yield what happens.

    What is done is left out, if there is a run. Leaving the loop stops the model and takes back
    that the request was begun.

    Parameters
    ----------
    tracer:
        The tracer, or what makes it when the first request needs it.
    entries:
        The requests, as they are read; none is kept.
    run:
        Where traces are kept and found again; None keeps nothing.
    live:
        Whether spans come while the model writes, where the signal allows it and no batch is run.
    batch_size:
        How many requests the model runs at once, those that follow each other; what happens to each
        comes when its batch is done. A request that ended a process before is run alone.
    measured:
        As for ``Tracer.stream`` and ``Tracer.replay``, where a request is run alone: called with
        the keep-masks, bool ``[m, K]``, under which a response is measured.
    options:
        As for ``Tracer.trace`` (with ``live`` as for ``Tracer.stream``), the same for all requests.
    """
    waiting: list[RequestEntry] = []
    made: Tracer | None = None
    if run is not None and run.on_change == "redo":  # the model decides what is to be redone
        made = _made(tracer, run)
    for entry in entries if run is None else run.todo(entries):
        if isinstance(entry, RequestProblem):
            if run is not None:
                run.failed(entry, entry.error)
            yield RequestFailed(entry, entry.error)
            continue
        made = made or _made(tracer, run)
        if batch_size == 1 or (run is not None and run.folder.exists(marker_of(entry.id))):
            responding = functools.partial(_events, made, entry, live, measured, options)
            yield from _one(entry, run, responding)
            continue
        waiting.append(entry)
        if len(waiting) == batch_size:
            yield from _several(made, waiting, run, options)
            waiting = []
    if made is not None and waiting:
        yield from _several(made, waiting, run, options)


def _made(tracer: Tracer | Callable[[], Tracer], run: Run | None) -> Tracer:
    made = tracer() if callable(tracer) else tracer
    if run is not None:
        run.bind(made.adapter)
    return made


def _one(entry: RequestEntry, run: Run | None, responding: _Responding) -> Iterator[RunEvent]:
    begun = _begun(entry, run)
    if begun is not True:
        if isinstance(begun, RequestFailed):
            yield begun
        return
    yield from _followed(entry, run, responding)


def _followed(entry: RequestEntry, run: Run | None, responding: _Responding) -> Iterator[RunEvent]:
    """Yield what happens to a request that was begun, and note in the run how it ended."""
    trace, path = None, None
    try:
        yield RequestStarted(entry)
        with responding() as events:
            for event in events:
                if isinstance(event, EndEvent):
                    trace = event.trace
                yield RequestEvent(entry, event)
        assert trace is not None
        if run is not None:
            path = run.done(entry, trace)
    except Exception as error:
        if run is not None:
            run.failed(entry, error)
        yield RequestFailed(entry, error)
    except BaseException:
        if run is not None:
            run.abandoned(entry)
        raise
    else:
        yield RequestDone(entry, trace, path)


def _begun(entry: RequestEntry, run: Run | None) -> bool | RequestFailed:
    """Note that a request is tried now; return whether it may be, or its failure."""
    try:
        return run is None or run.begin(entry)
    except InputError as error:
        assert run is not None
        run.failed(entry, error)
        return RequestFailed(entry, error)


def _several(
    tracer: Tracer, entries: Sequence[RequestEntry], run: Run | None, options: dict[str, Any]
) -> Iterator[RunEvent]:
    """Do as :func:`_one` does for the requests of one batch."""
    open_requests: list[RequestEntry] = []
    try:
        for entry in entries:
            begun = _begun(entry, run)
            if isinstance(begun, RequestFailed):
                yield begun
            elif begun:
                open_requests.append(entry)
        for entry, result in _results(tracer, tuple(open_requests), options):
            open_requests.remove(entry)
            yield from _followed(entry, run, functools.partial(_whole, result))
    except BaseException:
        if run is not None:
            for entry in open_requests:
                run.abandoned(entry)
        raise


def _results(
    tracer: Tracer, entries: Sequence[RequestEntry], options: dict[str, Any]
) -> Iterator[tuple[RequestEntry, Trace | Exception]]:
    """Yield what each request comes to: those that are answered first, then the replays."""
    read: list[tuple[RequestEntry, Conversation]] = []
    for entry in entries:
        try:
            given = {"media_root": entry.media_root, **entry.template}
            read.append((entry, tracer.read(entry.messages, **given)))
        except Exception as error:
            yield entry, error
    live = [(entry, asked) for entry, asked in read if entry.response is None]
    if live:
        many: dict[str, Any] = {"batch_size": len(live), "on_error": "return"}
        traces = tracer.trace_many([asked for _, asked in live], **many, **options)
        yield from zip((entry for entry, _ in live), traces, strict=True)
    pairs = [
        (entry, (asked, entry.response)) for entry, asked in read if entry.response is not None
    ]
    if pairs:
        many = {"batch_size": len(pairs), "on_error": "return"}
        traces = tracer.replay_many([pair for _, pair in pairs], **many)
        yield from zip((entry for entry, _ in pairs), traces, strict=True)


def _whole(
    result: Trace | Exception,
) -> contextlib.AbstractContextManager[Iterable[Event]]:
    """Return what happens in a response that comes whole; raise the error that came instead."""
    if isinstance(result, Exception):
        raise result
    return contextlib.nullcontext([*map(SpanEvent, result.spans), EndEvent(result)])


def _events(
    tracer: Tracer,
    entry: RequestEntry,
    live: bool,
    measured: Callable[[np.ndarray], None] | None,
    options: dict[str, Any],
) -> contextlib.AbstractContextManager[Iterable[Event]]:
    """Return what happens, as it happens where that is asked for and the signal allows it."""
    given = {"media_root": entry.media_root, **entry.template}
    if entry.response is not None:
        trace = tracer.replay(entry.messages, entry.response, measured=measured, **given)
    elif live and tracer.streams:
        given |= {"provisional": None, "measured": measured}
        return tracer.stream(entry.messages, **given, **options)
    else:
        trace = tracer.trace(entry.messages, **given, **options)
    return _whole(trace)
