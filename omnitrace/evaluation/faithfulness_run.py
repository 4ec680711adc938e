"""The faithfulness of several attributions of one example, measured on the same masks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from omnitrace.errors import InputError
from omnitrace.evaluation.measured_effects import MaskedLogprobs
from omnitrace.evaluation.metrics.causal import Claim, EffectMetric, effect_metrics
from omnitrace.evaluation.metrics.faithfulness import (
    Array,
    Defined,
    check_finite,
    control_scores,
    defined,
)

if TYPE_CHECKING:
    from omnitrace.ablation.masks import MaskDealer

__all__ = ["Faithfulness", "FaithfulnessOptions", "MeasureMasks", "faithfulness"]

MeasureMasks: TypeAlias = Callable[[Array], Array]

_ORACLE: Final = "oracle and calibration"  # no attribution: what they are fitted on evaluates all


@dataclass(frozen=True, slots=True)
class FaithfulnessOptions:
    """What is measured of one example.

    Parameters
    ----------
    masks, sized, oracle:
        How many masks for LDS, for its size-controlled form, and to fit the oracle and the
        calibration of R² on (256 or more for a figure; with 0 there is neither).
    ks, curves:
        The k of top-k drop and sufficiency; whether to measure the curves, of ``K + 1`` masks for
        each signal and span.
    controls, seed:
        Whether to add :func:`~omnitrace.evaluation.metrics.faithfulness.control_scores`, and the
        seed of the random ones.
    """

    masks: int = 64
    sized: int = 64
    oracle: int = 0
    ks: Sequence[int] = (1, 3, 5)
    curves: bool = False
    controls: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """The metrics of one example.

    Attributes
    ----------
    values:
        By signal, then by metric: float64 ``[S]``, NaN where undefined. The metrics are "lds",
        "size-controlled-lds", and for each k "top-k-drop" (in nats, which is comprehensiveness@k),
        "top-k-drop-per-token" and "sufficiency-k", such as "top-1-drop". With masks to fit on also
        "r-squared"; with curves "deletion-auc" and "insertion-auc" (of log-probabilities, in nats)
        and both with "-normalised".
    oracle:
        "lds" and "size-controlled-lds" of the oracle, ``[S]``; empty without one.
    masks:
        How many different masks were measured.
    """

    values: Mapping[str, Mapping[str, Array]]
    oracle: Mapping[str, Array]
    masks: int

    def summary(self) -> dict[str, dict[str, Defined]]:
        """Average over spans, undefined cases counted."""
        return {
            name: {metric: defined(values) for metric, values in found.items()}
            for name, found in self.values.items()
        }


def faithfulness(
    measure: MeasureMasks,
    scores: Mapping[str, Array],
    dealer: MaskDealer,
    *,
    span_tokens: Array,
    options: FaithfulnessOptions | None = None,
) -> Faithfulness:
    """Measure the faithfulness of several attributions of one example on the same masks.

    A mask that an attribution was fitted on does not evaluate it: where top-k drop, sufficiency, R²
    or a curve would need one, they are undefined; so is the size-controlled LDS where the units
    allow no masks of one size. The rest of what is undefined, and why, is in
    :mod:`omnitrace.evaluation.metrics.causal`.

    Parameters
    ----------
    measure:
        From bool ``[m, K]`` to ``f`` of every span, ``[m, S]`` in nats, such as
        ``lambda v: measure(scorer, spans, v).span_logprobs``. It is called once, no mask twice.
    scores:
        By signal: float ``[S, K]``.
    dealer:
        Deals the example's masks, and knows what the signals were fitted on: name it before with
        ``dealer.fitted(masks, by=name)``, the name being that in ``scores``.
    span_tokens:
        ``|S|`` of each span, at least 1.
    options:
        What is measured.

    Raises
    ------
    InputError
        If scores have the wrong shape or are not finite, or the masks run out.
    """
    options = options or FaithfulnessOptions()
    tokens = np.asarray(span_tokens, dtype=np.int64)
    every = _checked_scores(scores, len(tokens), dealer.units)
    if options.controls:
        every |= control_scores(dealer.sizes, len(tokens), seed=options.seed)
    dealt = _Dealt(
        dealer.sizes,
        dealer.evaluation(options.masks),
        dealer.sized_evaluation(options.sized),
        dealer.fit(options.oracle, by=_ORACLE),
    )
    rows = MaskedLogprobs(functools.partial(_checked_rows, measure, len(tokens)))

    def claims(name: str, scores: Array) -> list[Claim]:
        def not_fitted(asked: Array) -> Array:
            return ~dealer.was_fitted(asked, by=name)

        return [
            Claim(
                row, dealt, functools.partial(rows.logprobs, tokens=(s, s + 1)), length, not_fitted
            )
            for s, (row, length) in enumerate(zip(scores, tokens.tolist(), strict=True))
        ]

    metrics, best = _named_metrics(options.ks, curves=options.curves, oracle=options.oracle > 0)
    said = {name: claims(name, each) for name, each in every.items()}
    unscored = claims(_ORACLE, np.zeros((len(tokens), dealer.units)))  # the oracle finds its own
    needed = [masks for each in said.values() for masks in _needed(metrics, each)]
    rows.prepare(np.concatenate([dealt.plain, *needed, *_needed(best, unscored)]))
    return Faithfulness(
        {name: _values(metrics, each) for name, each in said.items()},
        _values(best, unscored),
        rows.count,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Dealt:
    """The masks of the example: a :class:`~omnitrace.evaluation.metrics.causal.Dealt`."""

    sizes: Array
    plain: Array
    sized: Array
    fit: Array


_Metrics: TypeAlias = Mapping[str, EffectMetric]


def _named_metrics(ks: Sequence[int], *, curves: bool, oracle: bool) -> tuple[_Metrics, _Metrics]:
    """Return the metrics of attributions, and those of the oracle."""
    every = effect_metrics(ks)
    names = ["lds", "size-controlled-lds"]
    for k in ks:
        names += [f"top-{k}-drop", f"top-{k}-drop-per-token", f"sufficiency-{k}"]
    if curves:
        names += [name for name in every if "-auc" in name]
    if oracle:
        names.append("r-squared")
    best = names[:2] if oracle else ()
    return {name: every[name] for name in names}, {name: every[f"oracle-{name}"] for name in best}


def _needed(metrics: _Metrics, claims: Sequence[Claim]) -> Iterator[Array]:
    """Yield the masks, bool ``[m, K]``, of every metric."""
    for claim in claims:
        for metric in metrics.values():
            yield metric.masks(claim.scores, claim.dealt)


def _values(metrics: _Metrics, claims: Sequence[Claim]) -> dict[str, Array]:
    """Return each metric, float64 ``[S]``."""
    return {
        name: np.array([metric.value(claim) for claim in claims])
        for name, metric in metrics.items()
    }


def _checked_rows(measure: MeasureMasks, spans: int, masks: Array) -> Array:
    found = np.asarray(measure(masks), dtype=np.float64)
    if found.shape != (len(masks), spans):
        raise InputError(
            f"measure() returned values of shape {found.shape}",
            legal=f"[{len(masks)} masks, {spans} spans]",
        )
    return found


def _checked_scores(scores: Mapping[str, Array], spans: int, units: int) -> dict[str, Array]:
    found = {name: np.asarray(each, dtype=np.float64) for name, each in scores.items()}
    for name, each in found.items():
        if each.shape != (spans, units):
            raise InputError(
                f"the scores {name!r} have the shape {each.shape}",
                legal=f"[{spans} spans, {units} units]",
            )
        check_finite(f"the scores {name!r}", each)
    return found
