"""Worker processes: order, errors, Ctrl-C, and that none of them is left behind."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from common.report import BenchmarkError
from common.workers import Workers, add_processes, workers_of

_BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def base(number: int) -> int:
    if number < 0:
        raise BenchmarkError(f"{number} is no base")
    return number


def base_of_many_threads(number: int) -> int:
    import torch

    torch.set_num_threads(2)
    return number


def added(state: int, item: int) -> int:
    time.sleep(0.02 * (item % 3))  # so that they do not end in the order in which they begin
    return state + item


def where_it_runs(state: int, item: int) -> dict[str, Any]:
    import torch

    return {
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "offline": os.environ["HF_HUB_OFFLINE"],
        "files": tempfile.mkdtemp(),
    }


def divided(state: int, item: int) -> float:
    return state / item


def ended(state: int, item: int) -> None:
    os._exit(1)


def test_results_are_in_the_order_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = set(multiprocessing.active_children())
    with Workers(2, base, 100) as workers:
        assert workers.map(added, range(9), what="adding") == [100 + i for i in range(9)]
        (seen,) = workers.map(where_it_runs, [0], what="looking")
    with Workers(2, base_of_many_threads, 100) as workers:
        (other,) = workers.map(where_it_runs, [0], what="looking")
    assert seen["pid"] != os.getpid()
    assert seen["threads"] == other["threads"] == 1
    assert seen["offline"] == "1"
    assert Path(seen["files"]).is_relative_to(tempfile.gettempdir())
    assert not Path(seen["files"]).exists()
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert set(multiprocessing.active_children()) == before


def test_the_first_failure_ends_everything() -> None:
    before = set(multiprocessing.active_children())
    with (
        pytest.raises(BenchmarkError, match=r"(?s)failed: ZeroDivisionError.*in divided"),
        Workers(2, base, 1) as workers,
    ):
        workers.map(divided, [1, 0, 2], what="dividing")
    with pytest.raises(BenchmarkError, match=r"^-1 is no base$"), Workers(2, base, -1) as workers:
        workers.map(added, [1], what="adding")
    with pytest.raises(BenchmarkError, match="ended while ending"), Workers(2, base, 1) as workers:
        workers.map(ended, [1, 2], what="ending")
    assert set(multiprocessing.active_children()) == before


_SCRIPT = """
import signal
import time
from common.workers import Workers
from common.report import run_benchmark

def slow(state, item):
    print("begun", flush=True)
    time.sleep(600)

def measure(given):
    with Workers(2, int) as workers:
        workers.map(slow, range(5), what="waiting")

if __name__ == "__main__":
    # Who runs the tests in a shell's background hands down that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise SystemExit(run_benchmark(measure, None))
"""


@pytest.mark.timeout(90)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nobody_is_left_behind(how: signal.Signals, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to parent and workers; who kills the parent leaves them alone."""
    script = tmp_path / "waiting.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(_BENCHMARKS), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    try:
        for line in parent.stdout:
            if "begun" in line:  # the line of one worker may hold that of the other
                break
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)
        else:
            parent.kill()
        said = parent.stdout.read()  # ends when the last of them has ended
    finally:
        if parent.poll() is None:
            os.killpg(parent.pid, signal.SIGKILL)
    if how == signal.SIGINT:
        assert parent.wait(10) == 130
        assert "stopped: no table" in said
        assert "Traceback" not in said
        assert not list(tmp_path.glob("omnitrace-benchmark-*"))


def test_one_process_needs_no_workers() -> None:
    with workers_of(1, base, -1) as workers:
        assert workers is None


def test_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    made = argparse.ArgumentParser()
    add_processes(made, "samples")
    assert made.parse_args([]).processes == 1
    assert made.parse_args(["--processes", "14"]).processes == 14
    for wrong in ("0", "two"):
        with pytest.raises(SystemExit):
            made.parse_args(["--processes", wrong])
        assert "--processes" in capsys.readouterr().err
