"""From scores to nats, with intervals that hold for a new request.

A fit knows which units matter more, in units of how much a span's log-probability varies; what that
is in nats depends on the span. One factor restores it, ``effect = b · |S|^p · score``, where
``|S|`` is the span's number of tokens and p one of 0, ½ and 1.

Intervals are split conformal on held-out examples. The units and spans of one request depend on
each other, so examples are what is exchangeable: every example has the same weight, shared among
its units (hierarchical conformal prediction; Lee, Barber & Willett 2023, arXiv 2306.06342, section
3). An interval ``effect ± q · u`` then covers the effect of a random unit of a new request with at
least the probability asked for, where u is what the fit says of its own uncertainty, in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.evaluation.metrics.faithfulness import Array

__all__ = [
    "Calibration",
    "CalibrationExample",
    "calibrate",
    "conformal_quantile",
    "with_threshold",
]

_POWERS: Final = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationExample:
    """One held-out example: scores ``[S, K]``, their spreads, measured effects; tokens ``[S]``.

    ``spreads`` are positive and in the units of the scores, ``effects`` in nats.
    """

    scores: Array
    spreads: Array
    effects: Array
    tokens: Array


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns scores into nats.

    Attributes
    ----------
    factor:
        Nats that a score of 1 is worth, b; never negative.
    power:
        p, by which the length of the span counts.
    quantile:
        q of the interval; None where there were too few examples for its level.
    level:
        Share of units that the intervals cover, in (0, 1).
    examples:
        How many held-out examples it is from.
    least:
        Nats that the strongest unit of a span must reach: below it the span has no source. 0 where
        nothing says what a span without a source looks like.
    """

    factor: float
    power: float
    quantile: float | None
    level: float
    examples: int
    least: float = 0.0

    def effects(self, scores: Array, tokens: float) -> Array:
        """Return the effects in nats on a span of so many tokens."""
        return np.asarray(self.factor * tokens**self.power * scores)

    def margins(self, spreads: Array, tokens: float) -> Array | None:
        """Return half the width of each interval in nats; None where there are none."""
        if self.quantile is None:
            return None
        return np.asarray(self.quantile * _unit(self.factor) * tokens**self.power * spreads)


def calibrate(examples: Sequence[CalibrationExample], *, level: float = 0.9) -> Calibration:
    """Fit the factor and the interval to held-out examples.

    The factor is that of least squares, in which every example weighs the same. The residuals that
    the interval is made of come from factors without the example itself, so that they are those of
    a new request.

    Parameters
    ----------
    examples:
        None of which the scores were fitted on; at least one with a unit.
    level:
        Probability of covering, in (0, 1). It takes ``level / (1 - level)`` examples, at 0.9 nine.

    Raises
    ------
    InputError
        If there is no example, or a number is not finite.
    """
    from omnitrace.evaluation.metrics.faithfulness import (
        check_finite,  # slow to import, and not needed to read
    )

    if not 0 < level < 1:
        raise InputError(f"the level is {level!r}", legal="a number between 0 and 1, such as 0.9")
    used = [each for each in examples if each.scores.size]
    if not used:
        raise InputError("no example to calibrate on", legal="at least one with a unit and a span")
    for each in used:
        check_finite("the scores", each.scores)
        check_finite("the effects", each.effects)
    sums = {power: np.array([_sums(each, power) for each in used]) for power in _POWERS}
    power = min(_POWERS, key=lambda p: _error(sums[p]))
    chosen = sums[power]
    residuals = []
    for number, each in enumerate(used):
        others = np.delete(chosen, number, axis=0) if len(used) > 1 else chosen
        factor = _factor(others)
        length = each.tokens[:, None].astype(np.float64) ** power
        unit = _unit(factor) * length * each.spreads
        residuals.append(np.abs(each.effects - factor * length * each.scores) / unit)
    quantile = conformal_quantile(residuals, level)
    return Calibration(
        factor=_factor(chosen),
        power=power,
        quantile=quantile if math.isfinite(quantile) else None,
        level=level,
        examples=len(used),
    )


def with_threshold(calibration: Calibration, examples: Sequence[CalibrationExample]) -> Calibration:
    """Return the calibration with the threshold that tells spans without a source best.

    Parameters
    ----------
    calibration:
        What turns scores into nats.
    examples:
        Their effects are verified: a span that has none above 0 has no source.

    Returns
    -------
    Calibration
        With the ``least`` of the largest F1 of "no source", halfway between two spans; 0 where the
        examples have no span with a source, or none without.
    """
    strongest, empty = _strongest(calibration, examples)
    if empty.all() or not empty.any():
        return calibration
    order = np.argsort(strongest, kind="stable")
    strongest, empty = strongest[order], empty[order]
    said = np.arange(1, len(empty) + 1)
    f1 = 2 * np.cumsum(empty) / (said + empty.sum())
    last = np.append(strongest[1:] > strongest[:-1], True)  # equal ones cannot be told apart
    best = int(np.argmax(np.where(last, f1, -1.0)))
    above = strongest[best + 1] if best + 1 < len(strongest) else 2 * strongest[best]
    return replace(calibration, least=max(0.0, float(strongest[best] + above) / 2))


def _strongest(
    calibration: Calibration, examples: Sequence[CalibrationExample]
) -> tuple[Array, np.ndarray]:
    """Return the largest predicted effect of each span, and whether it has no source."""
    spans = [
        (calibration.effects(scores, float(tokens)).max(), not (effects > 0).any())
        for each in examples
        for scores, effects, tokens in zip(each.scores, each.effects, each.tokens, strict=True)
    ]
    return np.array([found for found, _ in spans]), np.array([empty for _, empty in spans])


def conformal_quantile(groups: Sequence[Array], level: float) -> float:
    """Return the quantile of grouped values that a value of a new group stays within.

    Of ``n`` groups each weighs ``1 / (n + 1)``, shared among its values; the rest of the weight
    lies at infinity (Lee, Barber & Willett 2023). Infinite where the groups are too few for the
    level.

    Parameters
    ----------
    groups:
        Values of each group, any shape, at least one each.
    level:
        In (0, 1).
    """
    flat = [np.asarray(group, dtype=np.float64).reshape(-1) for group in groups]
    values = np.concatenate(flat) if flat else np.zeros(0)
    each = 1.0 / (len(flat) + 1)
    weights = np.concatenate([np.full(len(group), each / len(group)) for group in flat] or [values])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, level - 1e-12))
    return float(values[order][place]) if place < len(values) else math.inf


def _unit(factor: float) -> float:
    """Return what one spread is worth in nats; scores that are worth nothing keep their spread."""
    return factor if factor > 0 else 1.0


def _sums(each: CalibrationExample, power: float) -> tuple[float, float, float]:
    """Return the means over units of score², score · effect and effect²."""
    scores = each.tokens[:, None].astype(np.float64) ** power * each.scores
    return (
        float((scores**2).mean()),
        float((scores * each.effects).mean()),
        float((each.effects**2).mean()),
    )


def _factor(sums: Array) -> float:
    squares, products, _ = sums.sum(axis=0)
    return max(0.0, float(products / squares)) if squares > 0 else 0.0


def _error(sums: Array) -> float:
    squares, products, effects = sums.sum(axis=0)
    factor = _factor(sums)
    return float(effects - 2 * factor * products + factor**2 * squares)
