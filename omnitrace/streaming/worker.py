"""Work beside the decoding loop: a thread behind a bounded queue.

The decoding loop puts blocks into the queue and goes on; the thread works on them in order. The
loop waits only while the queue is full, and nothing is left out. An error of the thread is raised
in the loop at its next token, and the loop's end, for whatever reason, is the thread's. A loop that
is told to stop waits for nothing: work that does not return (a signal that hangs) is left behind,
and no model stays locked for its sake.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import torch

from omnitrace.streaming.openmp import compute_alone, numbers_kept

__all__ = ["Backlog", "Stopped", "Worker", "carrying_thread", "stops_are_errors"]

T = TypeVar("T")

_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 2.0  # for an item at work, once its result is of no use any more


class Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Raised inside ``generate``, or the work beside it, once its events are no longer read."""


class stops_are_errors:  # noqa: N801 - read as a statement
    """Let no StopIteration of a user's own code pass for the end of what was asked for.

    Raised by a logits processor or a signal, it would end a loop over events, or over traces, as if
    everything had been there. (``contextlib.contextmanager`` would itself let it through.)
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, StopIteration | StopAsyncIteration):
            raise RuntimeError(f"the traced run raised {type(error).__name__}") from error


def carrying_thread(run: Callable[[], None], name: str) -> threading.Thread:
    """Return a thread, not started, that does ``run`` in this one's context and torch modes."""
    context, modes = contextvars.copy_context(), _carried_modes()

    def carried() -> None:
        with modes():
            run()

    return threading.Thread(target=context.run, args=(carried,), name=name, daemon=True)


def _carried_modes() -> Callable[[], contextlib.AbstractContextManager[None]]:
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


@dataclass(slots=True)
class Backlog:
    """How the decoding loop and the worker kept pace.

    ``blocks`` were handed over; ``waits`` times the queue was full, and decoding stood still for
    ``seconds`` in all. ``longest`` is the largest number of blocks that waited at once.
    """

    blocks: int = 0
    waits: int = 0
    seconds: float = 0.0
    longest: int = 0


class Worker(Generic[T]):
    """Runs ``work`` on everything that is put, in order, in a thread of its own.

    The thread lives as long as the ``with`` block. It has the context and the torch modes of the
    thread that enters it, but no gradients, and on the CPU it computes alone
    (:mod:`omnitrace.streaming.openmp`).

    Parameters
    ----------
    work:
        What to do with an item.
    size:
        How many items may wait, beside the one at work.
    backlog:
        Is kept up to date.
    check:
        Called again and again while the loop waits for the thread, to leave by an exception.
    """

    def __init__(
        self,
        work: Callable[[T], None],
        size: int,
        backlog: Backlog | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._check = check
        self._size = size
        self._backlog = backlog or Backlog()
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._busy = False
        self._over = False
        self._alone = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = carrying_thread(self._run, "omnitrace-worker")
        with numbers_kept():
            self._thread.start()
            try:
                self._alone.wait()
            except BaseException:  # Ctrl-C
                self._end()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if not isinstance(error, Stopped):
                self._wait_for_all()  # what was written before an error counts
        finally:
            self._end()
        if error is None:
            self.check()

    def _end(self) -> None:
        with self._changed:
            self._over = True
            self._items.clear()
            self._changed.notify_all()
        assert self._thread is not None
        self._thread.join(_PATIENCE_SECONDS)
        if self._thread.is_alive():
            warnings.warn(
                f"what works beside the model did not return within {_PATIENCE_SECONDS:g} s after "
                "the end: a signal may hang; its thread is left behind",
                RuntimeWarning,
                stacklevel=2,
            )

    def check(self) -> None:
        """Raise the thread's error, if there is one."""
        if self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Hand an item over; waits while the queue is full. Raises the thread's error."""
        backlog = self._backlog
        with self._changed:
            if len(self._items) >= self._size and self._error is None:
                started = time.perf_counter()
                self._wait_until(lambda: len(self._items) < self._size or self._error is not None)
                backlog.waits += 1
                backlog.seconds += time.perf_counter() - started
            self.check()
            self._items.append(item)
            backlog.blocks += 1
            backlog.longest = max(backlog.longest, len(self._items))
            self._changed.notify_all()

    def _wait_for_all(self) -> None:
        with self._changed:
            self._wait_until(lambda: self._error is not None or not (self._items or self._busy))

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        while not self._changed.wait_for(reached, _POLL_SECONDS):
            self._check()

    def _run(self) -> None:
        try:
            compute_alone()
        finally:
            self._alone.set()
        try:
            with torch.no_grad():
                while (item := self._next()) is not None:
                    self._work(item)
                    del item  # its keys are not needed while the next one is waited for
        except BaseException as error:
            with self._changed:
                self._error = error
                self._items.clear()
                self._changed.notify_all()

    def _next(self) -> T | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over or bool(self._items))
            if self._over:
                return None
            self._busy = True
            item = self._items.popleft()
            self._changed.notify_all()
            return item
