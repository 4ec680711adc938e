"""Intervals for medians and means, without assumptions on the shape of the distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "bootstrap_mean", "median_interval"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval and the number of values behind it."""

    value: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 2) -> str:
        """Format as ``0.98 [0.96, 0.99]``; without the interval where there is none."""
        if not self.count:
            return "–"  # noqa: RUF001
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return f"{self.value:.{digits}f} (of {self.count})"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def figures(self) -> dict[str, float | int | None]:
        """Return JSON-ready values; what is undefined is null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {k: v if math.isfinite(v) else None for k, v in numbers.items()} | {
            "count": self.count
        }


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


def bootstrap_mean(
    groups: Sequence[Sequence[float]], *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Return the mean over all values, with a percentile interval over resampled *groups*.

    A group holds the values of one example (the spans of one sample): values within one are not
    independent, so whole groups are drawn. Empty groups are left out.
    """
    filled = [group for group in groups if len(group)]
    if not filled:
        return Estimate(math.nan, math.nan, math.nan, 0)
    sums = np.array([float(sum(group)) for group in filled])
    sizes = np.array([len(group) for group in filled])
    picks = np.random.default_rng(seed).integers(len(filled), size=(draws, len(filled)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(sums.sum() / sizes.sum()), float(low), float(high), int(sizes.sum()))
