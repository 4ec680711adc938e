"""From scores and measured log-probabilities to the figures of the table.

An example's figure is the mean over its spans, a method's the mean over examples; intervals are
95 % bootstraps over examples, differences are of the same examples.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from omnitrace.ablation import MaskDealer
from omnitrace.evaluation.faithfulness_run import FaithfulnessOptions, faithfulness
from omnitrace.evaluation.metrics.bootstrap import (
    Estimate,
    bootstrap,
    bootstrap_mean,
    paired_difference,
)
from omnitrace.evaluation.metrics.faithfulness import control_scores, defined, lds, share_of_oracle

__all__ = ["DROPPED", "Judged", "Plan", "difference", "judge", "mean", "oracle_mean", "share"]

SEED = 0
DROPPED = "lds-dropped"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: masks for each form of LDS, for the oracle (0: none), the k of the drops.

    ``dropped``: whether LDS is measured again with the sentences dropped from the text.
    ``operator``: how units are ablated otherwise.
    """

    masks: int
    sized: int
    oracle: int
    ks: tuple[int, ...] = (1, 3, 5)
    dropped: bool = True
    operator: str = "attention"


@dataclass(frozen=True, slots=True)
class Judged:
    """The figures of one example: by method, then metric; NaN where undefined.

    A method that could not score the example has none. ``groups`` are the figures of some of its
    spans, by the name of the group; groups without a span have none.
    """

    values: Mapping[str, Mapping[str, float]]
    oracle: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Judged] = field(default_factory=dict)


def judge(
    measure: Callable[[np.ndarray, str], np.ndarray],
    scores: Mapping[str, np.ndarray],
    fitted: Mapping[str, np.ndarray],
    *,
    name: str,
    sizes: np.ndarray,
    span_tokens: np.ndarray,
    plan: Plan,
    groups: Mapping[str, np.ndarray] | None = None,
) -> Judged:
    """Judge all methods on one example, on the same masks, none of which any was fitted on.

    Parameters
    ----------
    measure:
        From keep-masks and the name of an operator to ``f`` of every span, ``[m, S]``.
    scores, fitted:
        By method: float ``[S, K]``, and bool ``[m, K]``.
    name, sizes, span_tokens:
        Of the example; its units' tokens, its spans' tokens.
    plan:
        What is measured.
    groups:
        Spans to judge by themselves too: by the name of the group, bool ``[S]``.
    """

    def dealer() -> MaskDealer:
        made = MaskDealer(sizes, seed=SEED, example=name)
        for method, masks in fitted.items():
            made.fitted(masks, by=method)
        return made

    # The random control differs between examples.
    controls = control_scores(sizes, len(span_tokens), seed=zlib.crc32(name.encode()))
    every = {**scores, **controls}
    found = faithfulness(
        lambda masks: measure(masks, plan.operator),
        every,
        dealer(),
        span_tokens=span_tokens,
        options=FaithfulnessOptions(
            masks=plan.masks,
            sized=plan.sized,
            oracle=plan.oracle,
            ks=plan.ks,
            controls=False,  # they are among the scores
        ),
    )
    arrays = {method: dict(metrics) for method, metrics in found.values.items()}
    if plan.dropped:
        masks = dealer().evaluation(plan.masks)  # dealt again: the same
        logprobs = measure(masks, "drop")
        for method, each in every.items():
            arrays[method][DROPPED] = lds(each, masks, logprobs)

    def averaged(spans: np.ndarray) -> Judged:
        return Judged(
            {method: _means(metrics, spans) for method, metrics in arrays.items()},
            _means(found.oracle, spans),
        )

    inside = {group: spans for group, spans in (groups or {}).items() if spans.any()}
    whole = averaged(np.ones(len(span_tokens), dtype=bool))
    return replace(whole, groups={group: averaged(spans) for group, spans in inside.items()})


def _means(metrics: Mapping[str, np.ndarray], spans: np.ndarray) -> dict[str, float]:
    """Average each metric, ``[S]``, over some spans, bool ``[S]``."""
    return {metric: defined(values[spans]).mean for metric, values in metrics.items()}


def _figure(judged: Judged, method: str, metric: str) -> float:
    return judged.values.get(method, {}).get(metric, math.nan)


def _groups(judged: Sequence[Judged], method: str, metric: str) -> list[list[float]]:
    return [[_figure(each, method, metric)] for each in judged]


def mean(judged: Sequence[Judged], method: str, metric: str) -> Estimate:
    """Average a metric of a method over examples."""
    return bootstrap_mean(_groups(judged, method, metric), seed=SEED)


def difference(judged: Sequence[Judged], method: str, against: str, metric: str) -> Estimate:
    """Average the difference of two methods on the same examples."""
    first, second = (_groups(judged, name, metric) for name in (method, against))
    return paired_difference(first, second, seed=SEED)


def share(judged: Sequence[Judged], method: str, metric: str) -> Estimate:
    """Return a method's mean LDS over that of the oracle, on the examples that have one."""
    with_oracle = [each for each in judged if metric in each.oracle]
    own = np.array([_figure(each, method, metric) for each in with_oracle])
    best = np.array([each.oracle[metric] for each in with_oracle])

    def statistic(drawn: np.ndarray) -> float | None:
        value = share_of_oracle(own[drawn], best[drawn])
        return None if math.isnan(value) else value

    return bootstrap(len(with_oracle), statistic, seed=SEED)


def oracle_mean(judged: Sequence[Judged], metric: str) -> Estimate:
    """Average the oracle's LDS over the examples that have one."""
    groups = [[each.oracle[metric]] for each in judged if metric in each.oracle]
    return bootstrap_mean(groups, seed=SEED)
