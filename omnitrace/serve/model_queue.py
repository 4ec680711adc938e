"""One model, one queue: requests wait in the order in which they came, and run one at a time."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from omnitrace.errors import OmnitraceError
from omnitrace.serve.errors import ClosingError, TooBusyError
from omnitrace.serve.jobs import Job
from omnitrace.serve.logs import LOGGER, describe_defect
from omnitrace.serve.options import ServeOptions

__all__ = ["ModelQueue"]

_FIRST_GUESS: Final = 5.0  # seconds a request, before there was one
_RECENT: Final = 100  # requests of whose times the mean is taken
_LONGEST_WAIT: Final = 3600


class ModelQueue:
    """The requests that wait for the model, and the thread in which it works on them.

    Parameters
    ----------
    options:
        The limits.
    on_end:
        Called once with each job that has ended: in the model's thread, or in that which cancels
        one that waits.

    Attributes
    ----------
    running:
        The job that has the model.
    """

    def __init__(self, options: ServeOptions, on_end: Callable[[Job], None]) -> None:
        self._options = options
        self._on_end = on_end
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[Job] = deque()
        self.running: Job | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._began = 0.0
        self._closing = False
        self._over = False
        self._thread = threading.Thread(target=self._work, name="omnitrace-model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    # --- for those who ask --------------------------------------------------------------------

    def submit(self, job: Job) -> int:
        """Let a job wait; return how many are before it.

        Raises
        ------
        TooBusyError
            If the queue is full, or holds as many requests of this client as it may.
        ClosingError
            If the server ends.
        """
        options = self._options
        with self._changed:
            if self._closing:
                raise ClosingError("the server ends", retry_after=10)
            if len(self._waiting) >= options.queue_length and self.running is not None:
                raise TooBusyError(
                    f"{len(self._waiting)} requests wait for the model",
                    legal=f"at most {options.queue_length}",
                    # Who comes as soon as one has left finds many others at the door.
                    retry_after=self._seconds_for(max(1, len(self._waiting) // 2)),
                )
            mine = sum(each.owner == job.owner for each in self._all())
            if mine >= options.requests_per_client:
                raise TooBusyError(
                    f"{mine} requests of this client wait or run",
                    legal=f"at most {options.requests_per_client} at once",
                    retry_after=self._seconds_for(1),
                )
            job.on_cancel = self._forget
            self._waiting.append(job)
            position = len(self._all()) - 1
            job.moved(position, self.seconds_before(position))
            self._changed.notify_all()
        return position

    def position(self, job: Job) -> int | None:
        """Return how many requests are before a job; None where it is not in the queue."""
        with self._changed:
            everyone = self._all()
            return everyone.index(job) if job in everyone else None

    def seconds_before(self, position: int) -> float:
        """Return in about how many seconds a request begins that so many others are before."""
        with self._changed:
            if position <= 0:
                return 0.0
            spent = time.monotonic() - self._began if self.running is not None else 0.0
            recent = self._recent or (_FIRST_GUESS,)
            mean = sum(recent) / len(recent)
            return max(0.0, mean - spent) + (position - 1) * mean

    def jobs(self) -> list[Job]:
        """Return the jobs that run and wait, in their order."""
        with self._changed:
            return self._all()

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more requests, and let those go that wait; the one that runs goes on."""
        with self._changed:
            self._closing = True
            waiting = list(self._waiting)
        for job in waiting:
            job.cancel("closing")

    @property
    def closing(self) -> bool:
        """Whether it takes no more requests."""
        return self._closing

    def stop(self, timeout: float | None = None) -> None:
        """End the thread, and before that whatever runs, at its next token."""
        self.close()
        with self._changed:
            self._over = True
            self._changed.notify_all()
            running = self.running
        if running is not None:
            running.cancel("closing")
        if self._thread.ident is not None:
            self._thread.join(timeout)

    # --- inside -------------------------------------------------------------------------------

    def _all(self) -> list[Job]:
        return [*([] if self.running is None else [self.running]), *self._waiting]

    def _seconds_for(self, places: int) -> int:
        return min(_LONGEST_WAIT, max(1, math.ceil(self.seconds_before(places))))

    def _forget(self, job: Job) -> None:
        with self._changed:
            if job not in self._waiting:
                return  # the model's thread has it already, and says that it has ended
            self._waiting.remove(job)
            self._tell_positions()
        self._on_end(job)

    def _tell_positions(self) -> None:
        before = 0 if self.running is None else 1
        for position, job in enumerate(self._waiting, start=before):
            job.moved(position, self.seconds_before(position))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or bool(self._waiting))
                if self._over:
                    return
                job = self.running = self._waiting.popleft()
                self._began = time.monotonic()
                self._tell_positions()
            error = job.run()
            if error is not None and not isinstance(error, OmnitraceError):
                words = describe_defect(error, content=self._options.log_content)
                LOGGER.error("the run %s… failed: %s", job.id[:6], words)
            with self._changed:
                seconds = time.monotonic() - self._began
                self._recent.append(seconds)
                self.running = None
            self._on_end(job)
            del job, error
