"""Events from a worker thread, through a queue, as an iterator.

The worker never waits for its reader. It has the model's lock while it runs, so a reader that is
slow, that went away without closing the stream, or that calls the model itself between two events
would hold up everybody else, and itself for ever. So the response is always written to its end, as
fast as the model can, and the unread events wait. They are bounded by the response: tokens and
spans are the objects that the trace is made of, kept once. Provisional supports are not; they are
left out while many events wait, as their reader is too late for them anyway.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from omnitrace.errors import NotSupportedError
from omnitrace.streaming.openmp import release_team
from omnitrace.streaming.worker import Backlog, Stopped, carrying_thread, stops_are_errors
from omnitrace.trace.events import Event, ProvisionalEvent
from omnitrace.trace.trace import Trace

__all__ = ["Channel", "Emitter", "EventStream", "Launched", "Work"]

_MANY = 256  # events that wait: a reader so far behind gets no provisional supports
_POLL_SECONDS = 0.05
_JOIN_POLLS = 40


class Emitter(Protocol):
    """What the work passes its events to."""

    def __call__(self, event: Event, /) -> None:
        """Pass an event on, without waiting for its reader. Raises as :meth:`check` does."""

    def check(self) -> None:
        """Leave, by an exception that must not be caught, if the stream was closed."""


Work: TypeAlias = Callable[[Emitter], None]


class Channel:
    """What the worker and the stream share; the worker must not keep the stream itself alive.

    Parameters
    ----------
    work:
        What to do; it is given an :class:`Emitter`.
    notify:
        Called in the worker whenever there is an event to read, and when the worker leaves.
    """

    def __init__(self, work: Work, notify: Callable[[], None] = lambda: None) -> None:
        self.queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.stop = threading.Event()
        self.left = threading.Event()
        self.error: BaseException | None = None
        self._work = work
        self._notify = notify

    def __call__(self, event: Event, /) -> None:
        """Pass an event on; leave if the stream was closed."""
        self.check()
        if isinstance(event, ProvisionalEvent) and self.queue.qsize() >= _MANY:
            return
        self.queue.put(event)
        self._notify()

    def check(self) -> None:
        """Leave if the stream was closed."""
        if self.stop.is_set():
            raise Stopped

    def run(self) -> None:
        """Do the work in the worker thread."""
        try:
            with stops_are_errors():
                self._work(self)
        except Stopped:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.queue.put(None)
            self.left.set()
            self._notify()


class Launched:
    """The base of streams: a worker that starts when the first event is requested.

    It stops at its next token once the stream is closed or dropped.

    Parameters
    ----------
    work:
        What to do in the worker.
    backlog:
        How it will keep pace; None for a new one.
    notify:
        As for :class:`Channel`.
    """

    def __init__(
        self, work: Work, backlog: Backlog | None, notify: Callable[[], None] = lambda: None
    ) -> None:
        self.backlog = backlog or Backlog()
        self._channel = Channel(work, notify)
        self._launched = False
        # Not __del__: a Ctrl-C that falls into one is lost. A closed stream runs nothing more.
        self._dropped = weakref.finalize(self, self._channel.stop.set)
        self._dropped.atexit = False
        self._thread = carrying_thread(self._channel.run, "omnitrace-stream")

    def _launch(self) -> None:
        self._launched = True
        release_team()
        self._thread.start()

    def _check_worker(self) -> None:
        """Refuse to wait for events that cannot come any more.

        Raises
        ------
        NotSupportedError
            If the worker is gone without having said so: a fork copies no threads.
        """
        if self._channel.queue.empty() and not self._thread.is_alive():
            raise NotSupportedError(
                "the stream's worker is not in this process, which was forked from the one that "
                "started it",
                legal="streams that are read where they were started",
                fix="start the stream behind the fork",
            )

    def _stop(self) -> None:
        self._channel.stop.set()
        self._dropped.detach()


class EventStream(Launched):
    """An iterator of events from a worker thread.

    The worker starts when the first event is requested. Closing the stream, leaving its
    ``with`` block, or dropping it stops the worker at the next token; the model is then as it was.
    An exception in the worker is raised where the events are read.

    Parameters
    ----------
    work, backlog:
        What to do in the worker, and how it will keep pace.
    begun:
        Returns the trace as it is before the first token, where the request is read already.

    Attributes
    ----------
    backlog:
        How decoding and the work beside it kept pace so far.
    """

    def __init__(
        self,
        work: Work,
        backlog: Backlog | None = None,
        begun: Callable[[], Trace] | None = None,
    ) -> None:
        super().__init__(work, backlog)
        self._begun = begun

    def begun(self) -> Trace:
        """Return the trace as it is before the first token: the request, and no response yet.

        Raises
        ------
        NotSupportedError
            If nothing was asked of a model, or some events have been read.
        """
        if self._begun is None or self._launched:
            raise NotSupportedError(
                "the stream has no request that is still to be answered",
                legal="what Tracer.stream() returned, before its first event is read",
            )
        return self._begun()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        channel = self._channel
        if channel.stop.is_set():
            raise StopIteration
        try:
            if not self._launched:
                self._launch()
            self._check_worker()
            event = channel.queue.get()
        except BaseException:  # Ctrl-C while waiting
            self.close()
            raise
        if event is not None:
            return event
        channel.queue.put(None)  # for other threads that read here
        self.close()
        if channel.error is not None:
            raise channel.error
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Tell the worker to stop at its next token, from any thread, and wait for nothing.

        The loop over the events, in whatever thread it is, then ends without a last event.
        """
        self._stop()

    def close(self) -> None:
        """Stop the worker at its next token and wait until the model is as it was."""
        self._stop()
        if not self._launched or self._thread is threading.current_thread():
            return
        # Ctrl-C may come between starting the thread and its first step: it is then neither
        # absent nor ready to be joined, and a process must not end while it is inside the model.
        for _ in range(_JOIN_POLLS):
            with contextlib.suppress(RuntimeError):
                self._thread.join()
                return
            time.sleep(_POLL_SECONDS)
