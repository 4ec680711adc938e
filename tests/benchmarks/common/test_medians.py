import itertools
import math

import numpy as np
import pytest

from common.medians import median_interval


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
