"""Streams that are broken off at awkward moments."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from omnitrace.streaming import EventStream
from omnitrace.types import EndEvent


def test_ctrl_c_while_the_worker_starts_leaves_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    finished = threading.Event()

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    def work(emit: Any) -> None:
        try:
            while True:
                emit(None)
        finally:
            finished.set()

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    stream = EventStream(work)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert finished.is_set(), "the worker has left before the interrupt goes on"
    assert next(stream, "over") == "over"


def test_a_dropped_stream_stops_its_worker_and_a_closed_one_runs_nothing() -> None:
    finished = threading.Event()

    def work(emit: Any) -> None:
        try:
            while True:
                emit(EndEvent(None))  # type: ignore[arg-type]
        finally:
            finished.set()

    stream = EventStream(work)
    next(stream)
    assert stream._dropped.alive
    del stream
    gc.collect()
    assert finished.wait(10)
    closed = EventStream(work)
    closed.close()
    assert not closed._dropped.alive
