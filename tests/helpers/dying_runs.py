"""A run in a process of its own, with a tracer of no model that may end that process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from omnitrace.runs import RequestFailed, open_run, run_requests
from omnitrace.trace.trace import Trace
from tests.helpers.sample_traces import text_trace
from tests.runs.conftest import ASKED, adapter, request

COUNT = 12


class Dying:
    """Notes what it is asked for, takes its time, and dies of poison."""

    def __init__(self, log: Path, seconds: float) -> None:
        self.adapter = adapter()
        self.streams = False
        self._log = log
        self._seconds = seconds

    def trace(self, messages: Any, **options: Any) -> Trace:
        text = messages[0]["content"]
        with self._log.open("a") as file:
            file.write(f"{text}\n")
        if text == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._seconds)
        return text_trace([text], "Which?", text)


def trace_all(folder: Path, log: Path, seconds: float, poison: int) -> None:
    """Trace a dozen requests; the process ends with the number of those that failed."""
    entries = [request(f"R {n}", "poison" if n == poison else f"{n}.") for n in range(COUNT)]
    tracer: Any = Dying(log, seconds)
    events = run_requests(tracer, entries, open_run(folder, ASKED, attempts=2))
    os._exit(sum(isinstance(event, RequestFailed) for event in events))
