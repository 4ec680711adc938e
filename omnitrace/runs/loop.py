"""Trace requests one after the other, and keep what is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from omnitrace.errors import InputError
from omnitrace.runs.run import Run
from omnitrace.sources.request_files import FileEntry, RequestEntry, RequestProblem
from omnitrace.trace.events import EndEvent, Event, SpanEvent

if TYPE_CHECKING:
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


def run_requests(
    tracer: Tracer | Callable[[], Tracer],
    entries: Iterable[FileEntry],
    run: Run | None = None,
    *,
    live: bool = False,
    **options: Any,
) -> Generator[RunEvent, None, None]:
    """Trace requests one after the other, and yield what happens.

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
        Whether spans come while the model writes, where the signal allows it.
    options:
        As for ``Tracer.trace`` (with ``live`` as for ``Tracer.stream``), the same for all requests.
    """
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
        yield from _one(made, entry, run, live, options)


def _made(tracer: Tracer | Callable[[], Tracer], run: Run | None) -> Tracer:
    made = tracer() if callable(tracer) else tracer
    if run is not None:
        run.bind(made.adapter)
    return made


def _one(
    tracer: Tracer, entry: RequestEntry, run: Run | None, live: bool, options: dict[str, Any]
) -> Iterator[RunEvent]:
    try:
        if run is not None and not run.begin(entry):
            return
    except InputError as error:
        assert run is not None
        run.failed(entry, error)
        yield RequestFailed(entry, error)
        return
    yield RequestStarted(entry)
    trace, path = None, None
    try:
        with _events(tracer, entry, live, options) as events:
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


def _events(
    tracer: Tracer, entry: RequestEntry, live: bool, options: dict[str, Any]
) -> contextlib.AbstractContextManager[Iterable[Event]]:
    """Return what happens, as it happens where that is asked for and the signal allows it."""
    given = {"media_root": entry.media_root, **entry.template}
    if entry.response is not None:
        trace = tracer.replay(entry.messages, entry.response, **given)
    elif live and tracer.streams:
        return tracer.stream(entry.messages, provisional=None, **given, **options)
    else:
        trace = tracer.trace(entry.messages, **given, **options)
    return contextlib.nullcontext([*map(SpanEvent, trace.spans), EndEvent(trace)])
