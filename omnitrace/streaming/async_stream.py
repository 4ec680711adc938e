"""Events from a worker thread for ``asyncio``, without a thread that waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from types import TracebackType
from typing import Self

from omnitrace.streaming.stream import Launched, Work
from omnitrace.streaming.worker import Backlog
from omnitrace.trace.events import Event

__all__ = ["AsyncEventStream"]


class _Bell:
    """Wakes the event loop from another thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()

    def bind(self) -> None:
        """Belong to the loop that runs."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Wake the loop, if it is still there."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self) -> None:
        """Wait for the next ring, or return at once after one that came earlier."""
        await self._rung.wait()
        self._rung.clear()


class AsyncEventStream(Launched):
    """An asynchronous iterator of events from a worker thread.

    The worker starts when the first event is requested. Closing the stream (``aclose``),
    leaving its ``async with`` block, dropping it, or cancelling the task that waits for an event
    stops the worker at the next token; unless it was dropped, the model is then as it was. An
    exception in the worker is raised where the events are read.

    Attributes
    ----------
    backlog:
        How decoding and the work beside it kept pace so far.
    """

    def __init__(self, work: Work, backlog: Backlog | None = None) -> None:
        self._bell = _Bell()
        super().__init__(work, backlog, self._bell.ring)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        channel = self._channel
        if channel.stop.is_set():
            raise StopAsyncIteration
        try:
            if not self._launched:
                self._bell.bind()
                self._launch()
            event = await self._next()
        except BaseException:  # the task was cancelled
            await self.aclose()
            raise
        if event is not None:
            return event
        channel.queue.put(None)  # for other tasks that read here
        await self.aclose()
        if channel.error is not None:
            raise channel.error
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the worker at its next token and wait until the model is as it was."""
        self._stop()
        if not self._launched:
            return
        while not self._channel.left.is_set() and self._thread.is_alive():
            await self._bell.wait()
        self._thread.join()  # it has left the model, and has nothing more to wait for

    async def _next(self) -> Event | None:
        while True:
            self._check_worker()
            with contextlib.suppress(queue.Empty):
                return self._channel.queue.get_nowait()
            await self._bell.wait()
