"""What is said of the progress of a run."""

from __future__ import annotations

import pytest

from omnitrace.runs import Pace


def test_rate_and_remaining_time() -> None:
    now = [0.0]
    pace = Pace(60, lambda: now[0])
    assert str(pace) == "0 of 60"
    pace.begin()
    pace.kept, pace.done, now[0] = 10, 18, 10.0
    assert str(pace) == "28 of 60, 1.8 a second, 18 s left"
    pace.failed = 2
    assert str(pace) == "30 of 60, 2.0 a second, 15 s left, 2 failed"
    pace.done = 48
    assert str(pace).startswith("60 of 60, 5.0 a second, 2 failed")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(60.0, "1.0 a minute, 9 min left"), (3600.0, "1.0 an hour, 9 h 0 min left")],
)
def test_slow_runs(seconds: float, said: str) -> None:
    now = [0.0]
    pace = Pace(10, lambda: now[0])
    pace.done, now[0] = 1, seconds
    assert str(pace) == f"1 of 10, {said}"
