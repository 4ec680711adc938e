"""The metrics of measured effects by name: which masks each needs, and its value on them.

The formulas are in :mod:`omnitrace.evaluation.metrics.faithfulness`. Here is what stands around
them, whoever asks, :func:`omnitrace.evaluation.faithfulness_run.faithfulness` or ``omnitrace
evaluate``: which masks may evaluate which scores, and where a metric is undefined. Each metric says
beforehand which masks it needs, so that all that an example needs is measured in one go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np

from omnitrace.evaluation.metrics.faithfulness import (
    Array,
    area,
    calibration,
    curve_masks,
    is_size_controlled,
    lds,
    only_top_masks,
    oracle_lds,
    r_squared,
    without_top_masks,
)

__all__ = ["Claim", "Dealt", "EffectMetric", "effect_metrics"]

# Standard deviation of single-unit effects, in nats, below which there is nothing to explain: R²
# would divide by rounding errors, and one such span outweigh all others.
_LEAST: Final = 0.01

_Kind: TypeAlias = Literal["deletion", "insertion"]


class Dealt(Protocol):
    """The masks of one example, the same for all methods."""

    @property
    def sizes(self) -> Array:
        """``[K]``: tokens of each unit."""

    @property
    def plain(self) -> Array:
        """Bool ``[m, K]``, of LDS."""

    @property
    def sized(self) -> Array:
        """Bool ``[m, K]``, of size-controlled LDS: as nearly of one size as the units allow."""

    @property
    def fit(self) -> Array:
        """Bool ``[m, K]``, to fit the oracle and the calibration on; none without them."""


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """What one method says of one span, and the masks that evaluate it.

    Attributes
    ----------
    scores:
        float64 ``[K]``.
    dealt:
        The masks of the example.
    logprobs:
        From bool ``[m, K]`` to float64 ``[m]``: ``f(v)`` of the span, in nats.
    length:
        The span's tokens.
    not_fitted:
        From bool ``[m, K]`` to bool ``[m]``: on which masks the scores were *not* fitted; None for
        all.
    effects:
        Whether the scores are effects in nats, as a span signal gives.
    """

    scores: Array
    dealt: Dealt
    logprobs: Callable[[Array], Array]
    length: int
    not_fitted: Callable[[Array], Array] | None = None
    effects: bool = False

    def fair_logprobs(self, masks: Array) -> Array:
        """Return ``f(v)``, float64 ``[m]``, NaN for masks that the scores were fitted on.

        Masks that keep all or nothing say nothing of a ranking, and are always fair.
        """
        found = self.logprobs(masks)
        if self.not_fitted is not None:
            ends = masks.all(axis=1) | ~masks.any(axis=1)
            found = np.where(ends | self.not_fitted(masks), found, np.nan)
        return found


@dataclass(frozen=True, slots=True)
class EffectMetric:
    """A metric of measured effects.

    ``masks`` says which masks, bool ``[m, K]``, it needs for scores, float64 ``[K]``; ``value``
    computes it, NaN where it is undefined.
    """

    value: Callable[[Claim], float]
    masks: Callable[[Array, Dealt], Array]


def effect_metrics(ks: Sequence[int]) -> dict[str, EffectMetric]:
    """Return all metrics by name, those of the strongest units for each of ``ks``."""
    return {
        "lds": _of_lds(sized=False),
        "size-controlled-lds": _of_lds(sized=True),
        **{f"top-{k}-drop": _of_drop(k) for k in ks},
        **{f"top-{k}-drop-per-token": _of_drop(k, per_token=True) for k in ks},
        **{f"comprehensiveness-{k}": _of_drop(k) for k in ks},
        **{f"sufficiency-{k}": _of_sufficiency(k) for k in ks},
        "deletion-auc": _of_curve("deletion"),
        "insertion-auc": _of_curve("insertion"),
        "deletion-auc-normalised": _of_curve("deletion", normalised=True),
        "insertion-auc-normalised": _of_curve("insertion", normalised=True),
        "r-squared": EffectMetric(_r_squared, _calibrated_masks),
        "r-squared-of-effects": EffectMetric(_r_squared_of_effects, _alone),
        "oracle-lds": _of_oracle(sized=False),
        "oracle-size-controlled-lds": _of_oracle(sized=True),
    }


def _of_lds(sized: bool) -> EffectMetric:
    return EffectMetric(
        functools.partial(_lds, sized=sized), functools.partial(_lds_masks, sized=sized)
    )


def _of_oracle(sized: bool) -> EffectMetric:
    return EffectMetric(
        functools.partial(_oracle_lds, sized=sized), functools.partial(_oracle_masks, sized=sized)
    )


def _of_drop(k: int, *, per_token: bool = False) -> EffectMetric:
    return EffectMetric(
        functools.partial(_top_drop, k=k, per_token=per_token),
        functools.partial(_without_top, k=k),
    )


def _of_sufficiency(k: int) -> EffectMetric:
    return EffectMetric(functools.partial(_sufficiency, k=k), functools.partial(_only_top, k=k))


def _of_curve(kind: _Kind, *, normalised: bool = False) -> EffectMetric:
    return EffectMetric(
        functools.partial(_area, kind=kind, normalised=normalised),
        functools.partial(_curve, kind=kind),
    )


def _everything(units: int) -> Array:
    return np.ones((1, units), dtype=bool)


def _evaluation(dealt: Dealt, sized: bool) -> Array:
    """Return the masks of LDS; none of one size where the units allow none."""
    if not sized:
        return dealt.plain
    return dealt.sized if is_size_controlled(dealt.sized, dealt.sizes) else dealt.sized[:0]


def _too_few(masks: int) -> bool:
    """Whether a correlation of what is measured under so many masks is undefined."""
    from omnitrace.ablation.masks import FEWEST  # not above: evaluating by labels needs no torch

    return masks < FEWEST


def _lds_masks(scores: Array, dealt: Dealt, *, sized: bool) -> Array:
    return _evaluation(dealt, sized)


def _lds(claim: Claim, *, sized: bool) -> float:
    masks = _evaluation(claim.dealt, sized)
    found = claim.fair_logprobs(masks)
    fair = ~np.isnan(found)
    if _too_few(int(fair.sum())):
        return float("nan")
    return float(lds(claim.scores[None], masks[fair], found[fair, None])[0])


def _oracle_masks(scores: Array, dealt: Dealt, *, sized: bool) -> Array:
    return np.concatenate([_evaluation(dealt, sized), dealt.fit])


def _oracle_lds(claim: Claim, *, sized: bool) -> float:
    """LDS of the best additive scores: the same for every method."""
    masks, fit = _evaluation(claim.dealt, sized), claim.dealt.fit
    if _too_few(len(masks)) or not len(fit):
        return float("nan")
    found, fitted = (claim.logprobs(each)[:, None] for each in (masks, fit))
    return float(oracle_lds(fit, fitted, masks, found)[0])


def _without_top(scores: Array, dealt: Dealt, *, k: int) -> Array:
    return np.concatenate([_everything(len(scores)), without_top_masks(scores[None], k)])


def _top_drop(claim: Claim, *, k: int, per_token: bool = False) -> float:
    full, without = claim.fair_logprobs(_without_top(claim.scores, claim.dealt, k=k))
    if per_token:
        return float(full - without) / claim.length if claim.length else float("nan")
    return float(full - without)


def _only_top(scores: Array, dealt: Dealt, *, k: int) -> Array:
    return np.concatenate([_everything(len(scores)), only_top_masks(scores[None], k)])


def _sufficiency(claim: Claim, *, k: int) -> float:
    full, only = claim.fair_logprobs(_only_top(claim.scores, claim.dealt, k=k))
    return float(full - only)


def _curve(scores: Array, dealt: Dealt, *, kind: _Kind) -> Array:
    return curve_masks(scores, kind)


def _area(claim: Claim, *, kind: _Kind, normalised: bool) -> float:
    return area(claim.fair_logprobs(curve_masks(claim.scores, kind)), kind, normalised=normalised)


def _alone(scores: Array, dealt: Dealt) -> Array:
    """Return the masks of single-unit effects, after the one that keeps everything."""
    return np.concatenate([_everything(len(scores)), ~np.eye(len(scores), dtype=bool)])


def _calibrated_masks(scores: Array, dealt: Dealt) -> Array:
    return np.concatenate([_alone(scores, dealt), dealt.fit])


def _r_squared(claim: Claim) -> float:
    """R² of scores that a factor, fitted for the span on other masks, turns into nats.

    Undefined, as that of effects, where those of single units hardly differ.
    """
    fit = claim.dealt.fit
    if not len(fit):
        return float("nan")
    scores = claim.scores[None]
    factor = calibration(scores, fit, claim.logprobs(fit)[:, None])
    effects = _single_effects(claim)
    fitted = {mask.tobytes() for mask in fit}
    alone = _alone(claim.scores, claim.dealt)[1:]
    effects[[mask.tobytes() in fitted for mask in alone]] = np.nan  # they fitted the factor
    return _explained(factor[:, None] * scores, effects)


def _r_squared_of_effects(claim: Claim) -> float:
    """R² of a span signal's effects as they are, undefined where the scores are no effects."""
    if not claim.effects:
        return float("nan")
    return _explained(claim.scores[None], _single_effects(claim))


def _explained(predicted: Array, effects: Array) -> float:
    known = effects[~np.isnan(effects)]
    if not len(known) or float(known.std()) < _LEAST:
        return float("nan")
    return float(r_squared(predicted, effects[None])[0])


def _single_effects(claim: Claim) -> Array:
    """Return float64 ``[K]``: what the span loses without each unit, in nats."""
    found = claim.fair_logprobs(_alone(claim.scores, claim.dealt))
    effects: Array = found[0] - found[1:]
    return effects
