"""The threshold with the highest F1 of "no source", compared with all thresholds tried."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.evaluation.calibration.threshold import (
    MeasuredStatement,
    f1_at,
    fit_threshold,
    left_out_f1,
)


def statements(supported: list[float], none: list[float]) -> list[MeasuredStatement]:
    return [
        *(MeasuredStatement(f"r{n}", True, effect) for n, effect in enumerate(supported)),
        *(MeasuredStatement(f"r{n}", False, effect) for n, effect in enumerate(none)),
    ]


def test_the_middle_between_the_two_kinds_in_log_scale() -> None:
    found = statements([8.0, 20.0], [0.0, 0.5])
    assert fit_threshold(found) == pytest.approx(2.0)
    assert f1_at(2.0, found) == 1.0
    assert f1_at(0.2, found) == pytest.approx(2 / 3)
    # What is below a tenth of a nat is no effect, and no threshold lies there.
    assert fit_threshold(statements([10.0], [0.0])) == pytest.approx(1.0)


def test_the_longest_of_several_stretches() -> None:
    # Both in (1, 2] and in (3, 30] the F1 is 2/3, and between them lower.
    found = statements([2.0, 2.5, 30.0], [1.0, 3.0])
    assert f1_at(1.5, found) == f1_at(9.0, found) == pytest.approx(2 / 3)
    assert f1_at(2.2, found) == pytest.approx(0.5)
    assert fit_threshold(found) == pytest.approx(np.sqrt(90))


effects = st.lists(st.floats(-5, 200), min_size=1, max_size=12)


@given(effects, effects)
def test_no_threshold_is_better(supported: list[float], none: list[float]) -> None:
    found = statements(supported, none)
    chosen = fit_threshold(found)
    assert 0.1 <= chosen <= 100
    tried = [0.1001, *(effect for effect in (*supported, *none) if 0.1 < effect <= 100), 100]
    best = max(f1_at(threshold, found) for threshold in tried)
    assert f1_at(chosen, found) == pytest.approx(best)


def test_requests_are_left_out_in_turn() -> None:
    assert left_out_f1(statements([8.0, 9.0, 7.0], [0.1, 0.2, 0.3])) == 1.0
    # With the last request left out the threshold is sqrt(8 · 0.2): its 5.0 has no source there.
    odd = statements([8.0, 9.0, 0.7], [0.1, 0.2, 0.1])
    assert left_out_f1(odd) == pytest.approx(2 * 3 / (3 + 4))
    assert left_out_f1(statements([8.0], [0.1])) is None
