"""Intervals for medians, without assumptions on the shape of the distribution.

Means and their intervals are the package's: see ``omnitrace.evaluation.metrics.bootstrap``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from omnitrace.evaluation.metrics.bootstrap import Estimate

__all__ = ["median_interval"]


def median_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Return the median and the order statistics that hold it with at least ``level``.

    The interval is the narrowest symmetric one: from the k-th smallest to the k-th largest value,
    with the largest k for which Binomial(n, ½) leaves at most ``1 - level`` outside. With fewer
    than six values no such k exists at 95 %, and the ends are infinite.
    """
    ordered = sorted(values)
    n = len(ordered)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    k, tail = 0, 0
    while k < n and 2 * (tail + math.comb(n, k)) <= (1 - level) * 2**n:
        tail += math.comb(n, k)
        k += 1
    if k == 0:
        return Estimate(middle, -math.inf, math.inf, n)
    return Estimate(middle, ordered[k - 1], ordered[n - k], n)
