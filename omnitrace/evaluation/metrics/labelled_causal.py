"""Metrics of labelled spans that ask the model: what really happens when units are ablated.

They are registered beside those that labels alone decide, and mean nothing where no model measures.
What each computes is in :mod:`omnitrace.evaluation.metrics.causal`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.metrics.causal import Claim, EffectMetric, effect_metrics

__all__ = ["CAUSAL_METRICS", "DEFAULT", "KS", "SHARES", "CausalMetric", "needed_masks"]

#: The k of the metrics of the strongest units.
KS: Final = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class CausalMetric:
    """A metric of measured effects, of what a method says of an item."""

    metric: EffectMetric

    def __call__(self, item: LabelledItem, prediction: Prediction, /) -> float | None:
        """Return the value, None where it is undefined or nothing measures."""
        if item.measured is None or not item.units:
            return None
        own = prediction is item.prediction  # only of the trace it is known what it was fitted on
        claim = Claim(
            prediction.scores,
            item.measured,
            functools.partial(item.measured.logprobs, tokens=item.tokens),
            item.tokens[1] - item.tokens[0],
            not_fitted=item.measured.not_fitted if own else None,
            effects=own and item.effects,
        )
        value = self.metric.value(claim)
        return None if math.isnan(value) else value


#: Metrics by name.
CAUSAL_METRICS: Final[Mapping[str, CausalMetric]] = {
    name: CausalMetric(metric) for name, metric in effect_metrics(KS).items()
}

#: What a model measures where no metric is named; the others cost more, or say no more.
DEFAULT: Final = ("lds", "size-controlled-lds", *(f"top-{k}-drop" for k in KS))

#: LDS as a share of the oracle's, by name, and the two metrics that it is the quotient of.
SHARES: Final[Mapping[str, tuple[str, str]]] = {
    "lds-share-of-oracle": ("lds", "oracle-lds"),
    "size-controlled-lds-share-of-oracle": ("size-controlled-lds", "oracle-size-controlled-lds"),
}


def needed_masks(names: Iterable[str], item: LabelledItem, prediction: Prediction) -> np.ndarray:
    """Return bool ``[m, K]``, all masks that causal metrics need for what a method says of an item.

    Other names, and items that are not measured, need none.
    """
    found = [np.zeros((0, len(item.units)), dtype=bool)]
    if item.measured is not None and item.units:
        chosen = [CAUSAL_METRICS[name].metric for name in names if name in CAUSAL_METRICS]
        found += [metric.masks(prediction.scores, item.measured) for metric in chosen]
    return np.concatenate(found)
