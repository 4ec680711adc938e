"""A request to the model: its task, its state, its events, and its trace at the end."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

from omnitrace.errors import InputError, OmnitraceError
from omnitrace.serve.errors import ClosingError, TimeLimitError, describe
from omnitrace.serve.events import end_data
from omnitrace.serve.log import EventLog
from omnitrace.trace.trace import Trace
from omnitrace.types import SourceUnit

__all__ = ["Job", "Reason", "State", "Stopped", "Task", "Times"]

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
# Why a request was stopped: by its client, because nobody watches it any more, because it took too
# long, or because the server ends.
Reason: TypeAlias = Literal["client", "abandoned", "time", "closing"]


@dataclass(slots=True)
class Times:
    """When a job was made, began, wrote its first token, and ended, by ``time.monotonic()``."""

    asked: float = field(default_factory=time.monotonic)
    began: float | None = None
    first: float | None = None
    ended: float | None = None


class Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Raised in a task that was told to stop."""


class Task(Protocol):
    """What is asked of the model."""

    def __call__(self, job: Job, /) -> Trace:
        """Do it in the thread of the model; raises :class:`Stopped` once the job was told to stop.

        Long work calls :meth:`Job.check`, or is stopped through :meth:`Job.stopped_by`.
        """
        ...


class Job:
    """One request to the model, and all that becomes of it.

    Parameters
    ----------
    owner:
        The client that it belongs to.
    task:
        What is asked of the model.
    title:
        What the client's list calls it.
    seconds:
        How long the model may take.
    told:
        Makes of an error what the client may be told of it.

    Attributes
    ----------
    id:
        Unguessable.
    log:
        Its events.
    units:
        The units of the request, as soon as it is read; events name them by their index here.
    error:
        What went wrong, where it failed.
    tokens, times:
        How many tokens it has written, and when it went on.
    """

    def __init__(
        self,
        owner: str,
        task: Task,
        *,
        title: str = "",
        seconds: float = 600.0,
        told: Callable[[OmnitraceError], OmnitraceError] = lambda error: error,
    ) -> None:
        self.id: Final = secrets.token_urlsafe(18)
        self.owner: Final = owner
        self.title = title
        self.created: Final = time.time()
        self.log: Final = EventLog()
        self.units: tuple[SourceUnit, ...] = ()
        self.error: BaseException | None = None
        self.tokens = 0
        self.times: Final = Times()
        self.seconds_allowed = seconds
        self._told = told
        self._task = task
        self._state: State = "queued"
        self._trace: Trace | None = None
        self._load: Callable[[], Trace] | None = None
        self._index: dict[str, int] = {}
        self._reason: Reason | None = None
        self._stop: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._verifying = False
        self.on_cancel: Callable[[Job], None] = lambda job: None
        """Set by the queue that holds it: takes a job out that was cancelled while it waits."""

    # --- what it is ---------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it is on its way; one that is done may be on it again, to be verified."""
        return self._state

    @property
    def verifying(self) -> bool:
        """Whether it has a trace already, whose supports wait to be verified or are being so."""
        return self._verifying

    @property
    def active(self) -> bool:
        """Whether it waits for the model or has it."""
        return self._state in ("queued", "running")

    @property
    def index(self) -> Mapping[str, int]:
        """The index of each unit, by its id."""
        return self._index

    @property
    def trace(self) -> Trace | None:
        """The trace, once there is one; it may be read from disk."""
        with self._lock:
            trace, load = self._trace, self._load
        return load() if trace is None and load is not None else trace

    @property
    def unsaved(self) -> bool:
        """Whether it has a trace that is in memory only."""
        return self._trace is not None

    def keep_elsewhere(self, load: Callable[[], Trace] | None) -> None:
        """Forget the trace, which ``load`` gives back."""
        with self._lock:
            self._trace, self._load = None, load

    # --- for whoever made it ------------------------------------------------------------------

    def cancel(self, reason: Reason = "client") -> None:
        """Stop it, without waiting: out of the queue at once, at the model's next token else."""
        with self._lock:
            if not self.active or self._reason is not None:
                return
            self._reason = reason
            if self._state == "running":
                self._stop()
                return
            self._end()
        self.on_cancel(self)

    def again(self, task: Task) -> None:
        """Make ready for another task on its trace, as verification is one.

        Raises
        ------
        InputError
            If it is not done.
        """
        with self._lock:
            if self._state != "done":
                raise InputError(f"the run is {self._state}", legal="a run that is done")
            self._task, self._state, self._reason = task, "queued", None
            self._verifying = True
            self.log.reopen()

    def not_again(self) -> None:
        """Take :meth:`again` back: the queue is full."""
        with self._lock:
            self._task, self._state, self._verifying = _nothing, "done", False
            self.log.close()

    # --- for the queue ------------------------------------------------------------------------

    def moved(self, position: int, seconds: float) -> None:
        """Say how many requests are before it, and in about how many seconds it begins."""
        kind = "verifying" if self._verifying else "queued"
        self.log.append(kind, {"position": position, "seconds": round(seconds, 1)}, passing=True)

    def run(self) -> BaseException | None:
        """Do the task, in the thread of the model; return what it raised, if it did.

        Whatever that is ends nothing but the job.
        """
        with self._lock:
            if self._state != "queued" or self._reason is not None:
                return None
            self._state = "running"
            self.times.began = time.monotonic()
            if self._verifying:
                self.log.append("verifying", {"position": 0, "seconds": 0.0}, passing=True)
            else:
                self.log.append("started", {}, ends=["queued"])
        timer = threading.Timer(self.seconds_allowed, self.cancel, ("time",))
        timer.daemon = True
        timer.start()
        trace: Trace | None = None
        error: BaseException | None = None
        try:
            trace = self._task(self)
        except Stopped:
            pass
        except OmnitraceError as caught:
            error = self._told(caught)
        except BaseException as caught:  # a plugin may even raise SystemExit
            error = caught
        finally:
            timer.cancel()
        if self._reason is not None:
            error = None  # a signal that is stopped within may call that a defect of its own
        self._end(trace, error)
        return error

    def _end(self, trace: Trace | None = None, error: BaseException | None = None) -> None:
        with self._lock:
            reason = self._reason
            self._stop = lambda: None
            self.times.ended = time.monotonic()
            if trace is not None:
                self._trace, self._load, self._state = trace, None, "done"
                self.units = trace.units
                self._index = {unit.id: i for i, unit in enumerate(trace.units)}
                self.tokens = len(trace.tokens)
                seconds = self.times.ended - (self.times.began or self.times.ended)
                self._close("end", end_data(trace, self._index, seconds))
            elif error is None and reason in ("client", "abandoned"):
                self._state = "done" if self._verifying else "cancelled"
                self._close("cancelled", {"reason": reason})
            else:
                self.error = error or _stopped_for(reason, self.seconds_allowed)
                self._state = "done" if self._verifying else "failed"
                data: dict[str, Any] = {"error": describe(self.error)}
                self._close("failed", data | ({"during": "verify"} if self._verifying else {}))

    def _close(self, type_: str, data: Mapping[str, Any]) -> None:
        self._verifying = False
        self.log.append(type_, data, ends=("queued", "provisional", "verifying"), last=True)
        self._task = _nothing

    # --- for tasks ----------------------------------------------------------------------------

    def check(self) -> None:
        """Raise :class:`Stopped` where it was told to stop."""
        if self._reason is not None:
            raise Stopped

    @contextlib.contextmanager
    def stopped_by(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` when it is told to stop, from whatever thread, while within."""
        with self._lock:
            self.check()
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = lambda: None

    def wrote(self) -> None:
        """Count a token."""
        if self.times.first is None:
            self.times.first = time.monotonic()
        self.tokens += 1

    def begin(self, begun: Trace, view: Mapping[str, Any]) -> None:
        """Take the request as it was read, and tell its readers.

        Parameters
        ----------
        begun:
            The trace before its first token.
        view:
            What the viewer shows of it.
        """
        self.units = begun.units
        self._index = {unit.id: i for i, unit in enumerate(begun.units)}
        self.log.append("units", view)


def _nothing(job: Job) -> Trace:
    raise Stopped


def _stopped_for(reason: Reason | None, seconds: float) -> OmnitraceError:
    if reason == "closing":
        return ClosingError("the server ends", retry_after=10)
    return TimeLimitError(
        f"the model took longer than {seconds:g} s for the request",
        legal=f"requests that take at most {seconds:g} s",
        fix="ask for a shorter response, or give it fewer media",
    )
