"""Metrics of labelled spans that ask the model: what really happens when units are taken away.

They are registered beside those that labels alone decide, and mean nothing where no model measures;
the formulas are in :mod:`omnitrace.evaluation.faithfulness`, and the numbers are those of
:mod:`omnitrace.evaluation.measured`. Each says beforehand which masks it needs, so that all that an
example needs is measured in one go, and the number of passes is known before the first one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from omnitrace.evaluation.baselines import Prediction
from omnitrace.evaluation.faithfulness import (
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
from omnitrace.evaluation.items import Item
from omnitrace.evaluation.measuring import FEWEST, Measured

__all__ = ["CAUSAL_METRICS", "DEFAULT", "KS", "SHARES", "CausalMetric", "needed_masks"]

#: The k of the metrics of the strongest units.
KS: Final = (1, 3, 5)

# Standard deviation of single-unit effects, in nats, below which there is nothing to explain: R²
# would divide by rounding errors, and one such span outweigh all others.
_LEAST: Final = 0.01

_Masks: TypeAlias = Callable[[np.ndarray, Measured], np.ndarray]
_Value: TypeAlias = Callable[[Item, Prediction], float | None]
_Kind: TypeAlias = Literal["deletion", "insertion"]


@dataclass(frozen=True, slots=True)
class CausalMetric:
    """A metric of measured effects.

    ``masks`` says which masks, bool ``[m, K]``, it needs for scores, float64 ``[K]``; ``value``
    computes it for an item that is measured.
    """

    value: _Value
    masks: _Masks

    def __call__(self, item: Item, prediction: Prediction, /) -> float | None:
        """Return the value, None where it is undefined or nothing measures."""
        if item.measured is None or not item.units:
            return None
        value = self.value(item, prediction)
        return None if value is None or math.isnan(value) else float(value)


def needed_masks(names: Iterable[str], item: Item, prediction: Prediction) -> np.ndarray:
    """Return bool ``[m, K]``, all masks that causal metrics need for what a method says of an item.

    Other names, and items that are not measured, need none.
    """
    found = [np.zeros((0, len(item.units)), dtype=bool)]
    if item.measured is not None and item.units:
        chosen = [CAUSAL_METRICS[name] for name in names if name in CAUSAL_METRICS]
        found += [metric.masks(prediction.scores, item.measured) for metric in chosen]
    return np.concatenate(found)


def _logprobs(item: Item, masks: np.ndarray, judged: Prediction | None = None) -> np.ndarray:
    """Return float64 ``[m]``, ``f(v)`` of the item's tokens; NaN where a mask may not judge."""
    assert item.measured is not None, "checked by the metric"
    found = item.measured.logprobs(masks, item.tokens)
    if judged is not None and judged is item.prediction:
        found[~item.measured.judges(masks)] = np.nan
    return found


def _everything(units: int) -> np.ndarray:
    return np.ones((1, units), dtype=bool)


def _evaluation(measured: Measured, sized: bool) -> np.ndarray:
    """Return the masks of LDS; none of one size where the units allow of none."""
    if not sized:
        return measured.plain
    fair = is_size_controlled(measured.sized, measured.sizes)
    return measured.sized if fair else measured.sized[:0]


def _lds_masks(scores: np.ndarray, measured: Measured, *, sized: bool) -> np.ndarray:
    return _evaluation(measured, sized)


def _lds(item: Item, prediction: Prediction, *, sized: bool) -> float | None:
    assert item.measured is not None
    masks = _evaluation(item.measured, sized)
    found = _logprobs(item, masks, prediction)
    fair = ~np.isnan(found)
    if fair.sum() < FEWEST:
        return None
    return float(lds(prediction.scores[None], masks[fair], found[fair, None])[0])


def _oracle_masks(scores: np.ndarray, measured: Measured, *, sized: bool) -> np.ndarray:
    return np.concatenate([_evaluation(measured, sized), measured.fit])


def _oracle_lds(item: Item, prediction: Prediction, *, sized: bool) -> float | None:
    """LDS of the best additive scores: the same for every method."""
    assert item.measured is not None
    masks, fit = _evaluation(item.measured, sized), item.measured.fit
    if not len(masks) or not len(fit):
        return None
    found, fitted = (_logprobs(item, each)[:, None] for each in (masks, fit))
    return float(oracle_lds(fit, fitted, masks, found)[0])


def _without_top(scores: np.ndarray, measured: Measured, *, k: int) -> np.ndarray:
    return np.concatenate([_everything(len(scores)), without_top_masks(scores[None], k)])


def _top_drop(
    item: Item, prediction: Prediction, *, k: int, per_token: bool = False
) -> float | None:
    assert item.measured is not None
    masks = _without_top(prediction.scores, item.measured, k=k)
    full, without = _logprobs(item, masks, prediction)
    length = item.tokens[1] - item.tokens[0]
    if per_token:
        return float(full - without) / length if length else None
    return float(full - without)


def _only_top(scores: np.ndarray, measured: Measured, *, k: int) -> np.ndarray:
    return np.concatenate([_everything(len(scores)), only_top_masks(scores[None], k)])


def _sufficiency(item: Item, prediction: Prediction, *, k: int) -> float:
    assert item.measured is not None
    masks = _only_top(prediction.scores, item.measured, k=k)
    full, only = _logprobs(item, masks, prediction)
    return float(full - only)


def _curve(scores: np.ndarray, measured: Measured, *, kind: _Kind) -> np.ndarray:
    return curve_masks(scores, kind)


def _area(item: Item, prediction: Prediction, *, kind: _Kind, normalised: bool) -> float:
    curve = _logprobs(item, curve_masks(prediction.scores, kind), prediction)
    return area(curve, kind, normalised=normalised)


def _alone(scores: np.ndarray, measured: Measured) -> np.ndarray:
    """Return the masks of single-unit effects, after the one that keeps everything."""
    return np.concatenate([_everything(len(scores)), ~np.eye(len(scores), dtype=bool)])


def _calibrated_masks(scores: np.ndarray, measured: Measured) -> np.ndarray:
    return np.concatenate([_alone(scores, measured), measured.fit])


def _r_squared(item: Item, prediction: Prediction) -> float | None:
    """R² of scores that a factor, fitted for the span on other masks, turns into nats.

    Undefined, as that of effects, where those of single units hardly differ.
    """
    assert item.measured is not None
    fit = item.measured.fit
    if not len(fit):
        return None
    scores = prediction.scores[None]
    factor = calibration(scores, fit, _logprobs(item, fit)[:, None])
    effects = _single_effects(item, prediction)
    alone = _alone(prediction.scores, item.measured)[1:]
    effects[item.measured.calibrates(alone)] = np.nan  # they fitted the factor
    return _explained(factor[:, None] * scores, effects)


def _r_squared_of_effects(item: Item, prediction: Prediction) -> float | None:
    """R² of a span signal's effects as they are, None where the scores are no effects."""
    if prediction is not item.prediction or not item.effects:
        return None
    return _explained(prediction.scores[None], _single_effects(item, prediction))


def _explained(predicted: np.ndarray, effects: np.ndarray) -> float | None:
    known = effects[~np.isnan(effects)]
    if not len(known) or float(known.std()) < _LEAST:
        return None
    return float(r_squared(predicted, effects[None])[0])


def _single_effects(item: Item, prediction: Prediction) -> np.ndarray:
    """Return float64 ``[K]``: what the item's tokens lose without each unit, in nats."""
    assert item.measured is not None
    masks = _alone(prediction.scores, item.measured)
    full, *without = _logprobs(item, masks, prediction)
    effects: np.ndarray = full - np.array(without)
    return effects


def _of_lds(sized: bool) -> CausalMetric:
    return CausalMetric(
        functools.partial(_lds, sized=sized), functools.partial(_lds_masks, sized=sized)
    )


def _of_oracle(sized: bool) -> CausalMetric:
    return CausalMetric(
        functools.partial(_oracle_lds, sized=sized), functools.partial(_oracle_masks, sized=sized)
    )


def _of_drop(k: int, *, per_token: bool = False) -> CausalMetric:
    return CausalMetric(
        functools.partial(_top_drop, k=k, per_token=per_token),
        functools.partial(_without_top, k=k),
    )


def _of_sufficiency(k: int) -> CausalMetric:
    return CausalMetric(functools.partial(_sufficiency, k=k), functools.partial(_only_top, k=k))


def _of_curve(kind: _Kind, *, normalised: bool = False) -> CausalMetric:
    return CausalMetric(
        functools.partial(_area, kind=kind, normalised=normalised),
        functools.partial(_curve, kind=kind),
    )


#: Metrics by name.
CAUSAL_METRICS: Final[Mapping[str, CausalMetric]] = {
    "lds": _of_lds(sized=False),
    "size-controlled-lds": _of_lds(sized=True),
    **{f"top-{k}-drop": _of_drop(k) for k in KS},
    **{f"top-{k}-drop-per-token": _of_drop(k, per_token=True) for k in KS},
    **{f"comprehensiveness-{k}": _of_drop(k) for k in KS},
    **{f"sufficiency-{k}": _of_sufficiency(k) for k in KS},
    "deletion-auc": _of_curve("deletion"),
    "insertion-auc": _of_curve("insertion"),
    "deletion-auc-normalised": _of_curve("deletion", normalised=True),
    "insertion-auc-normalised": _of_curve("insertion", normalised=True),
    "r-squared": CausalMetric(_r_squared, _calibrated_masks),
    "r-squared-of-effects": CausalMetric(_r_squared_of_effects, _alone),
    "oracle-lds": _of_oracle(sized=False),
    "oracle-size-controlled-lds": _of_oracle(sized=True),
}

#: What a model measures where no metric is named; the others cost more, or say no more.
DEFAULT: Final = ("lds", "size-controlled-lds", *(f"top-{k}-drop" for k in KS))

#: LDS as a share of the oracle's, by name, and the two metrics that it is the quotient of.
SHARES: Final[Mapping[str, tuple[str, str]]] = {
    "lds-share-of-oracle": ("lds", "oracle-lds"),
    "size-controlled-lds-share-of-oracle": ("size-controlled-lds", "oracle-size-controlled-lds"),
}
