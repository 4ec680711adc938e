"""Bootstrap intervals over examples, with undefined values counted.

The spans of one example are not independent, so whole examples are drawn, with replacement, and
everything is computed again on what was drawn (percentile bootstrap; Efron & Tibshirani 1993,
chapter 13). The same seed gives the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from omnitrace.errors import InputError

__all__ = ["Estimate", "bootstrap", "bootstrap_mean", "paired_difference"]

#: The values of one example; None (or NaN) where a value is undefined.
ExampleValues: TypeAlias = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval, the number of values behind it, and of those left out.

    ``value``, ``low`` and ``high`` are NaN where nothing is defined.
    """

    value: float
    low: float
    high: float
    count: int
    undefined: int = 0

    def text(self, digits: int = 2) -> str:
        """Format as ``0.98 [0.96, 0.99]``; without the interval where there is none."""
        if not self.count or not math.isfinite(self.value):
            return "–"  # noqa: RUF001
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return f"{self.value:.{digits}f} (of {self.count})"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def figures(self) -> dict[str, float | int | None]:
        """Return JSON-ready values; what is not finite is null, what was left out is counted."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        found: dict[str, float | int | None] = {
            k: v if math.isfinite(v) else None for k, v in numbers.items()
        }
        found["count"] = self.count
        return found | ({"undefined": self.undefined} if self.undefined else {})


def bootstrap_mean(
    groups: Sequence[ExampleValues], *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Return the mean over all defined values, with an interval over resampled groups.

    Parameters
    ----------
    groups:
        The values of each example. Undefined values are left out and counted; examples without
        any defined value are not drawn.
    level:
        Share of the draws inside the interval, between 0 and 1.
    draws:
        How often examples are drawn.
    seed:
        Seed of the draws.
    """
    sums, sizes, undefined = _summed(groups)
    return _quotient(sums, sizes, undefined, level, draws, seed)


def paired_difference(
    first: Sequence[ExampleValues],
    second: Sequence[ExampleValues],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return the mean of ``first − second`` over pairs, with an interval over resampled examples.

    Value ``j`` of example ``i`` of one is paired with that of the other; pairs of which one is
    undefined are left out and counted. Pairing takes the differences between examples out: an
    interval that excludes 0 says that one method is better on the same spans.

    Raises
    ------
    InputError
        If the groups have different lengths.
    """
    if [len(group) for group in first] != [len(group) for group in second]:
        raise InputError(
            f"the values to compare are of {len(first)} and {len(second)} examples, or of other "
            "spans",
            legal="one value of each method for the same spans, in the same order",
        )
    differences = [
        [None if _gone(a) or _gone(b) else a - b for a, b in zip(one, other, strict=True)]  # type: ignore[operator]
        for one, other in zip(first, second, strict=True)
    ]
    return bootstrap_mean(differences, level=level, draws=draws, seed=seed)


def bootstrap(
    count: int,
    statistic: Callable[[np.ndarray], float | None],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return any statistic of examples with its interval.

    Parameters
    ----------
    count:
        Number of examples; also the ``count`` of the result.
    statistic:
        Given int ``[count]``, the indices of the examples that were drawn (some of them several
        times), the statistic on these; None where it is undefined. ``undefined`` of the result
        counts the draws for which it was, beside those of the interval.
    level, draws, seed:
        As for :func:`bootstrap_mean`.
    """
    _check(level, draws)
    value = statistic(np.arange(count)) if count else None
    if value is None:
        return Estimate(math.nan, math.nan, math.nan, 0, undefined=1 if count else 0)
    rng = np.random.default_rng(seed)
    found = [statistic(rng.integers(count, size=count)) for _ in range(draws)]
    defined = [each for each in found if each is not None]
    low, high = _interval(np.array(defined), level) if defined else (math.nan, math.nan)
    return Estimate(float(value), low, high, count, undefined=draws - len(defined))


def _gone(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _summed(groups: Sequence[ExampleValues]) -> tuple[np.ndarray, np.ndarray, int]:
    """Return sum and number of the defined values of each example that has any."""
    defined = [
        [value for value in group if value is not None and not math.isnan(value)]
        for group in groups
    ]
    undefined = sum(map(len, groups)) - sum(map(len, defined))
    filled = [group for group in defined if group]
    sums = np.array([float(sum(group)) for group in filled])
    return sums, np.array([len(group) for group in filled], dtype=np.int64), undefined


def _quotient(
    sums: np.ndarray, sizes: np.ndarray, undefined: int, level: float, draws: int, seed: int
) -> Estimate:
    _check(level, draws)
    if not len(sums):
        return Estimate(math.nan, math.nan, math.nan, 0, undefined)
    picks = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    low, high = _interval(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1), level)
    return Estimate(float(sums.sum() / sizes.sum()), low, high, int(sizes.sum()), undefined)


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(level: float, draws: int) -> None:
    if not 0 < level < 1:
        raise InputError(f"an interval of level {level}", legal="a number between 0 and 1")
    if draws < 1:
        raise InputError(f"{draws} draws", legal="at least 1")
