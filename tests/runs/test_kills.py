"""``kill -9``: what was done stays, what was begun is done again, and poison is given up."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from omnitrace.runs import open_run
from tests.helpers.dying_runs import COUNT, trace_all
from tests.runs.conftest import ASKED

Start = Callable[..., BaseProcess]


@pytest.fixture(scope="module")
def start() -> Start:
    """Start a run in a process of its own: all come from one that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.dying_runs"])

    def begin(folder: Path, log: Path, seconds: float, poison: int = -1) -> BaseProcess:
        process = context.Process(target=trace_all, args=(folder, log, seconds, poison))
        process.start()
        return process

    return begin


def test_a_killed_run_goes_on(start: Start, tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    for wanted in (2, 5):
        process = start(folder, log, 0.1)
        until = time.monotonic() + 60
        while len([*folder.glob("*.omnitrace")]) < wanted and time.monotonic() < until:
            assert process.exitcode is None
            time.sleep(0.01)
        process.kill()
        process.join(60)
    process = start(folder, log, 0.0)
    process.join(60)
    assert process.exitcode == 0
    assert open_run(folder, ASKED).summary().done == COUNT
    begun = Counter(log.read_text().splitlines())
    assert len(begun) == COUNT
    assert sum(begun.values()) <= COUNT + 2, "one request a kill is done again"
    assert not (folder / "attempts").exists()


def test_a_request_that_kills_its_process_is_given_up(start: Start, tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    codes = []
    for _ in range(3):
        process = start(folder, log, 0.0, poison=3)
        process.join(60)
        codes.append(process.exitcode)
    assert codes == [-9, -9, 1]
    begun = Counter(log.read_text().splitlines())
    assert begun.pop("poison") == 2
    assert set(begun.values()) == {1}
    summary = open_run(folder, ASKED).summary()
    assert summary.done == COUNT - 1
    assert [each.id for each in summary.given_up] == ["R 3"]
