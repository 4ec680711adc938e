"""What all parts of the server share: the model, its queue, the requests, the uploads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from omnitrace.errors import OmnitraceError
from omnitrace.serve.jobs import Job, Task
from omnitrace.serve.model_queue import ModelQueue
from omnitrace.serve.options import ServeOptions
from omnitrace.serve.store import JobStore
from omnitrace.serve.uploads import Upload, UploadStore, without_folder
from omnitrace.tracer import Tracer

__all__ = ["ServerState"]

_SWEEP_SECONDS: Final = 5.0
_LAST_SECONDS: Final = 10.0  # for the model to stop at its next token


@dataclass
class ServerState:
    """The state of one server.

    Attributes
    ----------
    tracer:
        The model, with the signal and the options that a request gets which asks for none.
    options:
        What the server allows.
    queue, jobs, uploads:
        What waits for the model, what was asked, and what was sent.
    observers:
        Called once with each job that has ended, most often in the model's thread.
    """

    tracer: Tracer
    options: ServeOptions
    jobs: JobStore = field(init=False)
    uploads: UploadStore = field(init=False)
    queue: ModelQueue = field(init=False)
    observers: list[Callable[[Job], None]] = field(init=False, default_factory=list)
    _held: dict[str, list[Upload]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.jobs = JobStore(self.options)
        self.uploads = UploadStore(self.options)
        self.queue = ModelQueue(self.options, self._ended)

    def job(self, owner: str, task: Task, **options: Any) -> Job:
        """Return a job within the limits of this server; ``options`` are those of :class:`Job`."""
        options.setdefault("seconds", self.options.request_seconds)
        return Job(owner, task, told=self._told, **options)

    def _told(self, error: OmnitraceError) -> OmnitraceError:
        return without_folder(error, self.uploads.folder)

    def submit(self, job: Job, uploads: Sequence[Upload] = (), *, kept: bool = True) -> int:
        """Let a job wait for the model; return how many are before it.

        Parameters
        ----------
        job:
            The job.
        uploads:
            What it needs until it has ended.
        kept:
            Whether its client can ask for it later.

        Raises
        ------
        TooBusyError
            If the queue is full, this client has too many requests, or the server ends.
        """
        held = list(uploads)
        self.uploads.hold(held)
        self._held[job.id] = held
        if kept:
            self.jobs.add(job)  # before it can end
        try:
            return self.queue.submit(job)
        except BaseException:
            self._release(job)
            self.jobs.remove(job)
            raise

    def submit_again(self, job: Job, task: Task) -> int:
        """Let a job that is done wait for the model again, for another task on its trace.

        Raises
        ------
        InputError
            If it is not done.
        TooBusyError
            As :meth:`submit`.
        """
        job.again(task)
        try:
            return self.queue.submit(job)
        except BaseException:
            job.not_again()
            raise

    def _ended(self, job: Job) -> None:
        """Keep what a job came to, and let go of what it needed."""
        self._release(job)
        for observe in self.observers:
            observe(job)
        self.jobs.keep(job)

    def _release(self, job: Job) -> None:
        self.uploads.release(self._held.pop(job.id, []))

    async def watch(self) -> None:
        """Stop requests that nobody watches any more, and delete old uploads, until cancelled."""
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.options.abandoned_seconds / 2))
            self.stop_abandoned()
            await asyncio.to_thread(self.uploads.sweep)

    def stop_abandoned(self) -> None:
        """Stop the requests that nobody has followed for a while; forget events nobody needs."""
        now = time.monotonic()
        for job in self.queue.jobs():
            if not job.log.watchers and now - job.log.watched > self.options.abandoned_seconds:
                job.cancel("abandoned")
        self.jobs.shorten_logs()

    def close(self) -> None:
        """End everything: whatever runs stops at its next token."""
        self.queue.stop(_LAST_SECONDS)
        self.jobs.close()
        self.uploads.close()
