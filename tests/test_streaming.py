"""Streams that are broken off at awkward moments."""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any

import pytest

from omnitrace.streaming import EventStream


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


def test_ctrl_c_while_a_stream_is_made_says_nothing_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    stream = EventStream.__new__(EventStream)  # __init__ has not come to its first line
    del stream
    gc.collect()
    assert not unraisable
