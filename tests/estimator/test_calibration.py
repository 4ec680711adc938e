"""Nats, and intervals that cover what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace import InputError
from omnitrace.estimator.calibration import (
    Calibration,
    CalibrationExample,
    calibrate,
    conformal_quantile,
    with_threshold,
)


def judged(
    number: int, *, factor: float = 0.7, power: float = 0.0, noise: float = 0.2, units: int = 8
) -> CalibrationExample:
    rng = np.random.default_rng([11, number])
    spans = int(rng.integers(1, 4))
    tokens = rng.integers(4, 40, spans)
    scores = rng.standard_normal((spans, units))
    effects = factor * tokens[:, None] ** power * scores
    # Noise that the units of one example share: they are not independent.
    effects += noise * (rng.standard_normal() + rng.standard_normal((spans, units)))
    return CalibrationExample(scores, np.ones((spans, units)), effects, tokens)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_factor_and_the_power_are_found(power: float) -> None:
    found = calibrate([judged(i, power=power, noise=0.05) for i in range(30)])
    assert found.power == power
    assert found.factor == pytest.approx(0.7, rel=0.05)
    assert found.examples == 30
    scores = np.array([1.0, -2.0])
    np.testing.assert_allclose(found.effects(scores, 16), found.factor * 16**power * scores)


def test_intervals_cover_new_examples() -> None:
    """Of examples that were never seen, at least about the level; not much more either."""
    found = calibrate([judged(i) for i in range(200)], level=0.8)
    covered = []
    for i in range(1000, 1400):
        new = judged(i)
        for scores, spreads, effects, tokens in zip(
            new.scores, new.spreads, new.effects, new.tokens, strict=True
        ):
            margins = found.margins(spreads, tokens)
            assert margins is not None
            covered.append(np.abs(effects - found.effects(scores, tokens)) <= margins)
    assert 0.76 <= np.mean(covered) <= 0.86


def test_spreads_widen_intervals() -> None:
    found = calibrate([judged(i) for i in range(30)])
    margins = found.margins(np.array([1.0, 3.0]), 10)
    assert margins is not None
    assert margins[1] == pytest.approx(3 * margins[0])


def test_few_examples_have_no_interval() -> None:
    eight, nine = (calibrate([judged(i) for i in range(n)]) for n in (8, 9))
    assert eight.quantile is None
    assert eight.margins(np.ones(3), 4) is None
    assert nine.quantile is not None


def test_scores_that_point_the_wrong_way_are_worth_nothing() -> None:
    found = calibrate([judged(i, factor=-1.0) for i in range(20)])
    assert found.factor == 0.0
    margins = found.margins(np.ones(2), 4)
    assert margins is not None
    assert (margins > 0).all()


def test_one_example_calibrates() -> None:
    assert calibrate([judged(0)]).factor > 0


@given(
    groups=st.lists(st.lists(st.floats(0, 10), min_size=1, max_size=5), min_size=1, max_size=12),
    level=st.floats(0.05, 0.95),
)
def test_the_quantile_is_the_least_with_enough_weight(
    groups: list[list[float]], level: float
) -> None:
    found = conformal_quantile([np.array(group) for group in groups], level)

    def weight(limit: float) -> float:
        shares = [np.mean([value <= limit for value in group]) for group in groups]
        return float(sum(shares) / (len(groups) + 1))

    if math.isinf(found):
        assert len(groups) / (len(groups) + 1) < level + 1e-9
        return
    assert weight(found) >= level - 1e-9
    below = [value for group in groups for value in group if value < found]
    assert not below or weight(max(below)) < level + 1e-9


def test_one_value_a_group_is_split_conformal() -> None:
    """The k-th of n values, k = ceil((n + 1) level) (Vovk et al. 2005)."""
    values = np.random.default_rng(0).random(19)
    assert conformal_quantile(list(values[:, None]), 0.9) == np.sort(values)[17]
    assert conformal_quantile([], 0.9) == math.inf


@pytest.mark.parametrize("level", [0.0, 1.0, float("nan")])
def test_levels_that_are_none(level: float) -> None:
    with pytest.raises(InputError, match="level"):
        calibrate([judged(0)], level=level)


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(InputError, match="no example"):
        calibrate([])
    bad = judged(0)
    bad.effects[0, 0] = np.nan
    with pytest.raises(InputError, match="effects have nan"):
        calibrate([bad])


def spans_of(*strongest: tuple[float, bool]) -> list[CalibrationExample]:
    """Return an example a span: its largest score, and whether it has a source."""
    return [
        CalibrationExample(
            np.array([[score, -1.0]]), np.ones((1, 2)), np.array([[3.0 * sourced, 0.0]]), np.ones(1)
        )
        for score, sourced in strongest
    ]


@pytest.mark.parametrize(
    ("spans", "least"),
    [
        ([(0.5, False), (1.0, False), (2.0, True), (4.0, True)], 3.0),  # 2 x the middle of 1 and 2
        ([(0.5, False), (1.0, True), (2.0, False), (4.0, True)], 6.0),  # one wrong "none" for two
        ([(1.0, False), (1.0, True), (2.0, True)], 3.0),  # equal ones cannot be told apart
        ([(1.0, False), (2.0, False)], 0.0),  # nothing has a source
        ([(1.0, True), (2.0, True)], 0.0),  # everything has
        ([], 0.0),
    ],
)
def test_the_threshold_tells_spans_without_a_source(
    spans: list[tuple[float, bool]], least: float
) -> None:
    calibration = Calibration(factor=2.0, power=0.0, quantile=None, level=0.9, examples=4)
    assert with_threshold(calibration, spans_of(*spans)).least == pytest.approx(least)
