"""Events from a worker thread, through a bounded queue, as an iterator."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import torch

from omnitrace.types import Event

__all__ = ["EventStream"]

_QUEUE_SIZE = 256
_POLL_SECONDS = 0.05
_JOIN_POLLS = 40


class _Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Raised inside the worker to leave ``generate`` once nobody listens."""


def _carry_modes() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Remember this thread's torch modes, which a new thread would not inherit."""
    grad = torch.is_grad_enabled()
    inference = torch.is_inference_mode_enabled()
    autocast = {
        device: torch.get_autocast_dtype(device)
        for device in ("cpu", "cuda")
        if torch.is_autocast_enabled(device)
    }

    @contextlib.contextmanager
    def restored() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode(inference))
            stack.enter_context(torch.set_grad_enabled(grad))
            for device, dtype in autocast.items():
                stack.enter_context(torch.autocast(device, dtype=dtype))
            yield

    return restored


class _Channel:
    """What the worker and the stream share; the worker must not keep the stream itself alive."""

    def __init__(self, work: Callable[[Callable[[Event], None]], None]) -> None:
        self.queue: queue.Queue[Event | None] = queue.Queue(_QUEUE_SIZE)
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._modes = _carry_modes()
        self._work = work

    def emit(self, event: Event | None) -> None:
        """Wait for room in the queue; leave if nobody listens any more."""
        while not self.stop.is_set():
            try:
                self.queue.put(event, timeout=_POLL_SECONDS)
                return
            except queue.Full:
                continue
        raise _Stopped

    def run(self) -> None:
        """Do the work in the worker thread."""
        try:
            with self._modes():
                self._work(self.emit)
        except _Stopped:
            return
        except BaseException as error:
            self.error = error
        with contextlib.suppress(_Stopped):
            self.emit(None)


class EventStream:
    """An iterator of events from a worker thread.

    The worker starts with the first event that is asked for. Closing the stream, leaving its
    ``with`` block, or dropping it stops the worker at the next token; the model is then as it was.
    An exception in the worker is raised where the events are read.
    """

    def __init__(self, work: Callable[[Callable[[Event], None]], None]) -> None:
        self._channel = _Channel(work)
        self._launched = False
        # Not __del__: a Ctrl-C that falls into one is lost. A closed stream runs nothing more.
        self._dropped = weakref.finalize(self, self._channel.stop.set)
        self._dropped.atexit = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._channel.run,), name="omnitrace-stream", daemon=True
        )

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        channel = self._channel
        if channel.stop.is_set():
            raise StopIteration
        try:
            if not self._launched:
                self._launched = True
                self._thread.start()
            event = channel.queue.get()
        except BaseException:  # Ctrl-C while waiting
            self.close()
            raise
        if event is not None:
            return event
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

    def close(self) -> None:
        """Stop the worker at its next token and wait until the model is as it was."""
        self._channel.stop.set()
        self._dropped.detach()
        if not self._launched or self._thread is threading.current_thread():
            return
        # Ctrl-C may fall between asking for the thread and its first breath: it is then neither
        # absent nor ready to be joined, and a process must not end while it is inside the model.
        for _ in range(_JOIN_POLLS):
            with contextlib.suppress(RuntimeError):
                self._thread.join()
                return
            time.sleep(_POLL_SECONDS)
