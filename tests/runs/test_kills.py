"""``kill -9``: what was done stays, what was begun is done again, and poison is given up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from omnitrace.runs import open_run
from tests.helpers.dying_runs import COUNT
from tests.runs.conftest import ASKED


def start(folder: Path, log: Path, seconds: float, poison: int = -1) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.helpers.dying_runs"]
    return subprocess.Popen(
        [*command, str(folder), str(log), str(seconds), str(poison)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    for wanted in (2, 5):
        with start(folder, log, 0.2) as process:
            until = time.monotonic() + 60
            while len([*folder.glob("*.omnitrace")]) < wanted and time.monotonic() < until:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
    with start(folder, log, 0.0) as process:
        assert process.wait(60) == 0
    assert open_run(folder, ASKED).summary().done == COUNT
    begun = Counter(log.read_text().splitlines())
    assert len(begun) == COUNT
    assert sum(begun.values()) <= COUNT + 2, "one request a kill is done again"
    assert not (folder / "attempts").exists()


def test_a_request_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    codes = []
    for _ in range(3):
        with start(folder, log, 0.0, poison=3) as process:
            said = process.communicate(timeout=60)[0]
        codes.append(process.returncode)
    assert codes == [-9, -9, 0]
    assert said == "GivenUpError: R 3\n"
    begun = Counter(log.read_text().splitlines())
    assert begun.pop("poison") == 2
    assert set(begun.values()) == {1}
    summary = open_run(folder, ASKED).summary()
    assert summary.done == COUNT - 1
    assert [each.id for each in summary.given_up] == ["R 3"]
