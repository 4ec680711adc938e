import itertools
import math

import numpy as np
import pytest
from _stats import Estimate, bootstrap_mean, median_interval


def coverage(n: int, k: int) -> float:
    """Chance that the true median lies between the k-th smallest and k-th largest of n values.

    By brute force: every value is, independently, below or above the median.
    """
    inside = 0
    for signs in itertools.product((0, 1), repeat=n):
        inside += k <= sum(signs) <= n - k
    return inside / 2**n


@pytest.mark.parametrize("n", range(6, 15))
def test_median_interval_is_the_narrowest_that_covers(n: int) -> None:
    values = [float(i) for i in range(1, n + 1)]
    found = median_interval(values[::-1])
    k = int(found.low)
    assert found.high == n + 1 - k
    assert coverage(n, k) >= 0.95 > coverage(n, k + 1)
    assert found.value == np.median(values)
    assert found.count == n


def test_median_interval_of_twenty_is_the_sixth_and_the_fifteenth() -> None:
    found = median_interval(range(1, 21))
    assert (found.low, found.high) == (6, 15)


def test_median_interval_of_few_values_is_unbounded() -> None:
    found = median_interval([3.0, 1.0, 2.0])
    assert (found.value, found.low, found.high) == (2.0, -math.inf, math.inf)
    assert found.text() == "2.00 (of 3)"
    assert found.figures() == {"value": 2.0, "low": None, "high": None, "count": 3}
    assert median_interval([]).count == 0
    assert median_interval([]).text() == "–"  # noqa: RUF001


def slow_bootstrap(groups: list[list[float]], draws: int, seed: int) -> tuple[float, float]:
    picks = np.random.default_rng(seed).integers(len(groups), size=(draws, len(groups)))
    means = []
    for row in picks:
        values = [value for group in row for value in groups[group]]
        means.append(sum(values) / len(values))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def test_bootstrap_resamples_whole_groups() -> None:
    groups = [[1.0, 0.0], [1.0], [0.0, 0.0, 1.0], [0.5]]
    found = bootstrap_mean(groups, draws=500, seed=7)
    assert found.value == pytest.approx(3.5 / 7)
    assert (found.low, found.high) == pytest.approx(slow_bootstrap(groups, 500, 7))
    assert found.count == 7


def test_bootstrap_leaves_empty_groups_out() -> None:
    assert bootstrap_mean([[], [1.0], []]) == Estimate(1.0, 1.0, 1.0, 1)
    assert bootstrap_mean([[], []]).count == 0


def test_bootstrap_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for run in range(200):
        groups = [list(rng.normal(size=3) + rng.normal()) for _ in range(40)]
        found = bootstrap_mean(groups, draws=300, seed=run)
        covered += found.low <= 0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99
