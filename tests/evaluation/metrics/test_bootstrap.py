"""Bootstrap over examples: slow references, SciPy, coverage, undefined values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from omnitrace.errors import InputError
from omnitrace.evaluation.metrics.bootstrap import (
    Estimate,
    bootstrap,
    bootstrap_mean,
    paired_difference,
)


def slow_bootstrap(groups: list[list[float]], draws: int, seed: int) -> tuple[float, float]:
    picks = np.random.default_rng(seed).integers(len(groups), size=(draws, len(groups)))
    means = []
    for row in picks:
        values = [value for group in row for value in groups[group]]
        means.append(sum(values) / len(values))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def test_whole_groups_are_drawn() -> None:
    groups = [[1.0, 0.0], [1.0], [0.0, 0.0, 1.0], [0.5]]
    found = bootstrap_mean(groups, draws=500, seed=7)
    assert found.value == pytest.approx(3.5 / 7)
    assert (found.low, found.high) == pytest.approx(slow_bootstrap(groups, 500, 7))
    assert (found.count, found.undefined) == (7, 0)
    assert bootstrap_mean(groups, draws=500, seed=7) == found
    assert bootstrap_mean(groups, draws=500, seed=8) != found


def test_undefined_values_are_counted() -> None:
    found = bootstrap_mean([[1.0, None], [math.nan, 0.0], [None]], draws=300, seed=1)
    expected = bootstrap_mean([[1.0], [0.0]], draws=300, seed=1)
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.count, found.undefined) == (2, 3)
    assert found.figures()["undefined"] == 3
    assert "undefined" not in expected.figures()


def test_empty_groups_are_left_out() -> None:
    assert bootstrap_mean([[], [1.0], []]) == Estimate(1.0, 1.0, 1.0, 1)
    nothing = bootstrap_mean([[], [None]])
    assert (nothing.count, nothing.undefined) == (0, 1)
    assert nothing.text() == "–"  # noqa: RUF001
    assert nothing.figures() == {
        "value": None, "low": None, "high": None, "count": 0, "undefined": 1,
    }  # fmt: skip


def test_texts() -> None:
    assert Estimate(0.984, 0.9, 1.0, 7).text() == "0.98 [0.90, 1.00]"
    assert Estimate(0.984, 0.9, 1.0, 7).text(1) == "1.0 [0.9, 1.0]"
    assert Estimate(0.5, -math.inf, math.inf, 3).text() == "0.50 (of 3)"


def test_it_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).normal(size=50)
    found = bootstrap_mean([[float(each)] for each in values], draws=20_000, seed=0)
    theirs = scipy_bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for run in range(200):
        groups = [list(rng.normal(size=3) + rng.normal()) for _ in range(40)]
        found = bootstrap_mean(groups, draws=300, seed=run)
        covered += found.low <= 0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_pairs() -> None:
    first = [[0.9, None, 0.8], [0.7]]
    second = [[0.5, 0.4, None], [0.6]]
    found = paired_difference(first, second, draws=200, seed=2)
    expected = bootstrap_mean([[0.4], [0.1]], draws=200, seed=2)
    assert found.value == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.count, found.undefined) == (2, 2)
    with pytest.raises(InputError, match="are of 1 and 2 examples"):
        paired_difference([[1.0]], [[1.0], [2.0]])
    with pytest.raises(InputError, match="or of other spans"):
        paired_difference([[1.0]], [[1.0, 2.0]])


def test_pairing_removes_what_both_share() -> None:
    rng = np.random.default_rng(5)
    hard = rng.normal(scale=3, size=60)
    first = [[float(h + 0.2)] for h in hard]
    second = [[float(h)] for h in hard]
    found = paired_difference(first, second)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2))
    assert bootstrap_mean(first).high - bootstrap_mean(first).low > 1


def test_any_statistic() -> None:
    values = np.random.default_rng(4).normal(size=30)

    def median(picks: np.ndarray) -> float:
        return float(np.median(values[picks]))

    found = bootstrap(30, median, draws=400, seed=6)
    rng = np.random.default_rng(6)
    medians = [median(rng.integers(30, size=30)) for _ in range(400)]
    assert found.value == np.median(values)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(medians, [0.025, 0.975])))
    assert (found.count, found.undefined) == (30, 0)


def test_draws_without_a_statistic_are_counted() -> None:
    flags = np.array([True, False, False])
    found = bootstrap(3, lambda picks: 1.0 if flags[picks].any() else None, draws=500)
    assert found.value == found.low == found.high == 1.0
    assert found.undefined / 500 == pytest.approx((2 / 3) ** 3, abs=0.08)
    assert bootstrap(3, lambda picks: None).undefined == 1
    assert bootstrap(0, lambda picks: 1.0).count == 0


def test_options_that_mean_nothing() -> None:
    with pytest.raises(InputError, match="an interval of level 1"):
        bootstrap_mean([[1.0]], level=1)
    with pytest.raises(InputError, match="0 draws"):
        bootstrap(1, lambda picks: 1.0, draws=0)
