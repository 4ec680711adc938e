"""A model that is kept busy until a test lets it go."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from omnitrace.serve.jobs import Job, Stopped
from omnitrace.serve.state import ServerState
from omnitrace.trace.trace import Trace


class Held:
    """A task that has the model until it is let go, or told to stop."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, job: Job, /) -> Trace:
        self.began.set()
        with job.stopped_by(self.let_go.set):
            self.let_go.wait(30)
        raise Stopped


@contextlib.contextmanager
def held(state: ServerState) -> Iterator[Job]:
    """Keep the model busy."""
    task = Held()
    job = Job("somebody", task)
    state.submit(job)
    assert task.began.wait(10)
    try:
        yield job
    finally:
        task.let_go.set()
        wait_for(lambda: state.queue.running is not job)


def wait_for(reached: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.005)
