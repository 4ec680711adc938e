"""A run in a process of its own, with a tracer of no model that may end that process."""

from __future__ import annotations

import os
import signal
import sys
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


def main(folder: str, log: str, seconds: str, poison: str) -> None:
    entries = [request(f"R {n}", "poison" if str(n) == poison else f"{n}.") for n in range(COUNT)]
    tracer: Any = Dying(Path(log), float(seconds))
    run = open_run(folder, ASKED, attempts=2)
    for event in run_requests(tracer, entries, run):
        if isinstance(event, RequestFailed):
            print(f"{type(event.error).__name__}: {event.entry.id}")


if __name__ == "__main__":
    main(*sys.argv[1:])
