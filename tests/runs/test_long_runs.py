"""A run holds no more after many requests than after a few: benchmarks/long_run.py in short."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from omnitrace import Tracer
from omnitrace.runs import RequestDone, asked_of, open_run, run_requests
from tests.runs.conftest import request

FACT = "The lamp weighs eight grams. What is it?"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are read in /proc")
@pytest.mark.filterwarnings("ignore::omnitrace.errors.SourceWarning")
def test_nothing_piles_up(reference: Tracer, tmp_path: Path) -> None:
    options = {"max_new_tokens": 2}
    run = open_run(tmp_path, asked_of(reference.setup, generation=options))
    entries = (request(f"r{number}", FACT) for number in range(40))
    held: list[tuple[int, int, Counter[str]]] = []
    for number, event in enumerate(
        each
        for each in run_requests(reference, entries, run, live=True, **options)
        if isinstance(each, RequestDone)
    ):
        del event
        if number in (9, 39):
            gc.collect()
            kinds = Counter(type(each).__name__ for each in gc.get_objects())
            handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            held.append((threading.active_count(), handles, kinds))
    (threads, handles, before), (threads_after, handles_after, after) = held
    assert threads_after == threads
    assert handles_after == handles
    assert after.total() - before.total() < 300, (after - before).most_common(5)
    assert "Trace" not in after - before
