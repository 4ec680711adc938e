"""Who computes with helpers, and who does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from omnitrace.streaming.openmp import compute_alone, numbers_kept
from omnitrace.streaming.worker import Worker


def fresh_thread_count() -> int:
    """Return how many threads torch would use in a thread that has not computed yet."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_worker_computes_alone_and_nobody_else_does() -> None:
    inside: list[int] = []
    with Worker(lambda item: inside.append(torch.get_num_threads()), 2) as worker:
        worker.put(1)
        worker.put(2)
        assert torch.get_num_threads() == 2
        assert fresh_thread_count() == 2
    assert inside == [1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_numbers_are_kept_after_an_error() -> None:
    def fail() -> None:
        with numbers_kept():
            thread = threading.Thread(target=compute_alone)
            thread.start()
            thread.join()
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert torch.get_num_threads() == 2
    assert fresh_thread_count() == 2


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
def test_a_team_is_released_and_comes_back() -> None:
    # In a process of its own: whether this one has helpers depends on the tests before.
    script = """
        import os, torch
        from omnitrace.streaming.openmp import release_team

        def threads():
            return len(os.listdir("/proc/self/task"))

        torch.set_num_threads(2)
        numbers = torch.arange(1 << 20, dtype=torch.float64)
        release_team()
        alone = threads()
        first = float(numbers.sqrt().sum())
        with_helpers = threads()
        release_team()
        released = threads()
        again = float(numbers.sqrt().sum())
        print(with_helpers - alone, released - alone, threads() - alone, first == again)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["1", "0", "1", "True"]
