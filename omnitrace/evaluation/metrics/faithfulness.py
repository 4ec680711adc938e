"""Faithfulness: whether scores say what really happens when units are ablated.

Notation, as in all our figures: ``v ∈ {0, 1}^K`` is a keep-mask over the ``K`` units of an example
(1 = kept), ``f(v) = Σ_{t∈S} log p(y_t | ablate(x, v), y_<t)`` the teacher-forced log-probability of
a span ``S`` in nats, and ``τ ∈ R^K`` the scores of one attribution for it.

Arrays are of one example: ``scores`` float ``[S, K]``, ``masks`` bool ``[m, K]``, ``logprobs``
float ``[m, S]`` (``Effects.span_logprobs``). A metric has one value a span, float64 ``[S]``, NaN
where it is undefined; :func:`defined` averages the others and says how many are missing.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from omnitrace.errors import InputError

__all__ = [
    "Array",
    "Defined",
    "area",
    "calibration",
    "check_finite",
    "control_scores",
    "curve_masks",
    "defined",
    "is_size_controlled",
    "lds",
    "only_top_masks",
    "oracle_lds",
    "oracle_scores",
    "r_squared",
    "share_of_oracle",
    "size_controlled_lds",
    "spearman",
    "without_top_masks",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# Kept tokens of size-controlled masks may spread by this share of what random masks spread by.
_SPREAD: Final = 0.25


class Defined(NamedTuple):
    """The mean over the defined values (NaN if there are none), and how many there are."""

    mean: float
    defined: int
    undefined: int


def defined(values: Array) -> Defined:
    """Average the values that are not NaN, and count the others: they are excluded, not hidden."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    known = flat[~np.isnan(flat)]
    mean = float(known.mean()) if len(known) else float("nan")
    return Defined(mean, len(known), len(flat) - len(known))


def spearman(a: Array, b: Array) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank.

    NaN where either is constant, or there are fewer than two values.
    """
    x, y = (_ranks(np.asarray(each, dtype=np.float64)) for each in (a, b))
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"values of shapes {x.shape} and {y.shape}", legal="two of one length")
    x, y = x - x.mean() if len(x) else x, y - y.mean() if len(y) else y
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip((x @ y) / norm, -1, 1)) if norm > 0 else float("nan")


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: Array = np.cumsum(counts)
    ranks: Array = (last - (counts - 1) / 2)[inverse]
    return ranks


def lds(scores: Array, masks: Array, logprobs: Array) -> Array:
    """Linear datamodeling score of each span, ``[S]`` in [-1, 1], higher is better.

    ``LDS = Spearman_i( f(v_i), Σ_k τ_k v_{i,k} )`` over masks ``v_i ~ Bernoulli(½)^K`` (Park et al.
    2023; Cohen-Wang et al. 2024). Undefined where ``f`` or the prediction is the same for all
    masks. Any positive scores predict how much is kept: read it beside :func:`control_scores`, and
    beside :func:`size_controlled_lds`.
    """
    scores, masks, logprobs = _checked(scores, masks, logprobs)
    # Rounded to a billionth of the scale: what is equal but for the order of summing is a tie.
    predicted = scores @ masks.T.astype(np.float64)
    scale = np.abs(scores).sum(axis=1, keepdims=True)
    predicted = np.round(predicted / np.where(scale > 0, scale, 1.0), 9)
    return np.array([spearman(predicted[s], logprobs[:, s]) for s in range(len(scores))])


def size_controlled_lds(scores: Array, masks: Array, logprobs: Array, sizes: Array) -> Array:
    """LDS of each span, ``[S]``, over masks that all keep (nearly) the same number of tokens.

    The formula is that of :func:`lds`; with these masks uniform scores and unit lengths predict
    next to nothing.

    Raises
    ------
    InputError
        If the masks are not :func:`is_size_controlled`.
    """
    if not is_size_controlled(masks, sizes):
        kept = np.asarray(masks) @ np.asarray(sizes)
        raise InputError(
            f"the masks keep between {kept.min():g} and {kept.max():g} tokens",
            legal="masks that keep nearly the same number: is_size_controlled(masks, sizes)",
            fix="draw them with sized_masks() or MaskDealer.sized_evaluation(), fewer of them or "
            "of more units",
        )
    return lds(scores, masks, logprobs)


def is_size_controlled(masks: Array, sizes: Array) -> bool:
    """Whether masks, bool ``[m, K]``, keep nearly the same number of tokens.

    That is: the standard deviation of the kept tokens is at most a quarter of that of
    ``Bernoulli(½)^K`` masks, ``sqrt(Σ_k sizes_k²) / 2``.
    """
    tokens = np.asarray(sizes, dtype=np.float64)
    kept = np.asarray(masks, dtype=bool) @ tokens
    return len(kept) < 2 or float(kept.std()) <= _SPREAD * float(np.sqrt((tokens**2).sum()) / 2)


def oracle_scores(masks: Array, logprobs: Array) -> Array:
    """Fit the best additive scores, ``[S, K]``, in nats.

    ``argmin_{a, τ} Σ_i (f(v_i) - a - Σ_k τ_k v_{i,k})²`` for each span; of several solutions the
    one of least norm.

    Raises
    ------
    InputError
        If there are fewer masks than unknowns.
    """
    masks, logprobs = np.asarray(masks), np.asarray(logprobs, dtype=np.float64)
    if len(masks) < masks.shape[1] + 1:
        raise InputError(
            f"{len(masks)} masks for {masks.shape[1]} units and a constant",
            legal=f"at least {masks.shape[1] + 1}; 256 or more for a figure",
        )
    check_finite("logprobs", logprobs)
    design = np.column_stack([np.ones(len(masks)), masks.astype(np.float64)])
    fitted: Array = np.linalg.lstsq(design, logprobs, rcond=None)[0]
    return fitted[1:].T


def oracle_lds(fit_masks: Array, fit_logprobs: Array, masks: Array, logprobs: Array) -> Array:
    """LDS of the oracle, ``[S]``: what any additive attribution can reach on these masks.

    ``LDS(oracle_scores(fit masks))`` on *other* masks.

    Raises
    ------
    InputError
        If a mask is among both.
    """
    fitted = {mask.tobytes() for mask in np.ascontiguousarray(fit_masks, dtype=bool)}
    both = [i for i, v in enumerate(np.asarray(masks, dtype=bool)) if v.tobytes() in fitted]
    if both:
        raise InputError(
            f"evaluation mask {both[0]} is among the masks that the oracle is fitted on",
            legal="disjoint masks",
            fix="deal both with one MaskDealer",
        )
    return lds(oracle_scores(fit_masks, fit_logprobs), masks, logprobs)


def share_of_oracle(values: Array, oracle: Array) -> float:
    """Mean LDS as a share of the oracle's mean, over spans where both are defined.

    NaN where there are none, or the oracle's mean is not positive.
    """
    both = ~(np.isnan(values) | np.isnan(oracle))
    best = float(np.mean(oracle[both])) if both.any() else 0.0
    return float(np.mean(values[both])) / best if best > 0 else float("nan")


def without_top_masks(scores: Array, k: int) -> Array:
    """Keep-masks ``1 - 1_{top-k(τ)}``, bool ``[S, K]``: all but the k units of highest score.

    Of equal scores the earlier unit goes first. Where ``k >= K``, nothing is kept. The *top-k drop*
    ``f(1) - f(1 - 1_{top-k})`` in nats is also *comprehensiveness@k* (DeYoung et al. 2020, there of
    probabilities); divided by ``|S|`` it is per token. Higher is better.
    """
    return ~only_top_masks(scores, k)


def only_top_masks(scores: Array, k: int) -> Array:
    """Keep-masks ``1_{top-k(τ)}``, bool ``[S, K]``: only the k units of highest score.

    *Sufficiency@k* is ``f(1) - f(1_{top-k})``, in nats; lower is better.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k is {k!r}", legal="a whole number of 1 or more")
    order = _order(scores)
    masks = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(masks, order[:, :k], True, axis=1)
    return masks


def curve_masks(scores: Array, kind: Literal["deletion", "insertion"]) -> Array:
    """Keep-masks of a curve, bool ``[K + 1, K]``, for the scores ``[K]`` of one span.

    Deletion starts with all units and takes the highest score away first; insertion starts with
    none and adds the highest first (Petsiuk et al. 2018).
    """
    _check_curve(kind)
    order = _order(np.asarray(scores)[None])[0]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    added: Array = rank[None] < np.arange(len(order) + 1)[:, None]
    return added if kind == "insertion" else ~added


def area(
    curve: Array, kind: Literal["deletion", "insertion"], *, normalised: bool = False
) -> float:
    """Area under the measured curve ``c_0 … c_K`` of :func:`curve_masks`.

    ``(1/K) Σ_j (c_{j-1} + c_j) / 2``, in the unit of the curve: nats for log-probabilities (say
    which it is). Normalised, each value is first ``(c_j - c_K) / (c_0 - c_K)`` for deletion and
    ``(c_j - c_0) / (c_K - c_0)`` for insertion, so that no unit left is 0 and all of them 1. Lower
    is better for deletion, higher for insertion.

    NaN where there is no unit or the curve has a NaN; normalised, where both ends are equal.
    """
    _check_curve(kind)
    values = np.asarray(curve, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or np.isnan(values).any():
        return float("nan")
    if normalised:
        none, all_ = (values[-1], values[0]) if kind == "deletion" else (values[0], values[-1])
        if none == all_:
            return float("nan")
        values = (values - none) / (all_ - none)
    return float(((values[:-1] + values[1:]) / 2).mean())


def _check_curve(kind: str) -> None:
    if kind not in ("deletion", "insertion"):
        raise InputError(f"the curve is {kind!r}", legal="'deletion' or 'insertion'")


def calibration(scores: Array, masks: Array, logprobs: Array) -> Array:
    """Fit the factor to nats of each span, ``[S]``: ``b`` of ``min Σ_i (f(v_i) - a - b τ·v_i)²``.

    Fit it on masks that evaluate nothing. NaN where the prediction is constant.
    """
    scores, masks, logprobs = _checked(scores, masks, logprobs)
    predicted = masks.astype(np.float64) @ scores.T
    predicted = predicted - predicted.mean(axis=0)
    power = (predicted**2).sum(axis=0)
    found = (predicted * (logprobs - logprobs.mean(axis=0))).sum(axis=0)
    factor: Array = np.divide(found, power, out=np.full(len(power), np.nan), where=power > 0)
    return factor


def r_squared(predicted: Array, measured: Array) -> Array:
    """R² of predicted against measured single-unit effects, ``[S]``: ``1 - SSE / SST``.

    Parameters
    ----------
    predicted:
        ``[S, K]`` in nats, that is after the calibration (``calibration(...)[:, None] * scores``).
    measured:
        ``[S, K]``: ``f(1) - f(1 - e_k)``; NaN where it is not to be used.

    Undefined where the measured effects are all equal. Can be below 0: worse than their mean.
    """
    predicted, measured = (np.asarray(each, dtype=np.float64) for each in (predicted, measured))
    if predicted.shape != measured.shape or measured.ndim != 2:
        raise InputError(
            f"effects of shapes {predicted.shape} and {measured.shape}", legal="two of [S, K]"
        )
    found = np.full(len(measured), np.nan)
    for s, (guess, truth) in enumerate(zip(predicted, measured, strict=True)):
        used = ~np.isnan(truth)
        total = ((truth[used] - truth[used].mean()) ** 2).sum() if used.any() else 0.0
        if total > 0:
            found[s] = 1 - ((truth[used] - guess[used]) ** 2).sum() / total
    return found


def control_scores(sizes: Array, spans: int, *, seed: int = 0) -> dict[str, Array]:
    """Scores that know nothing, each ``[S, K]``: "random", "unit-size" and "uniform".

    A figure without them is no result: on random masks, positive scores of any kind predict how
    many units are kept, and unit sizes how many tokens.
    """
    tokens = np.asarray(sizes, dtype=np.float64)
    random = np.random.default_rng(seed).random((spans, len(tokens)))
    return {
        "random": random,
        "unit-size": np.tile(tokens, (spans, 1)),
        "uniform": np.ones((spans, len(tokens))),
    }


def _order(scores: Array) -> Array:
    """Return the units of each span by descending score, the earlier of equals first."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2:
        raise InputError(f"scores of shape {values.shape}", legal="[spans, units]")
    check_finite("the scores", values)
    order: Array = np.argsort(-values, axis=1, kind="stable")
    return order


def _checked(scores: Array, masks: Array, logprobs: Array) -> tuple[Array, Array, Array]:
    values, found = (np.asarray(each, dtype=np.float64) for each in (scores, logprobs))
    keep = np.asarray(masks)
    if values.ndim != 2 or keep.ndim != 2 or keep.shape[1] != values.shape[1]:
        raise InputError(
            f"scores of shape {values.shape} and masks of shape {keep.shape}",
            legal="[spans, units] and [masks, units]",
        )
    if found.shape != (len(keep), len(values)):
        raise InputError(
            f"logprobs of shape {found.shape}", legal=f"[{len(keep)} masks, {len(values)} spans]"
        )
    check_finite("the scores", values)
    check_finite("logprobs", found)
    return values, keep.astype(bool), found


def check_finite(what: str, values: Array) -> None:
    """Refuse values that are NaN or infinite, naming the first of them."""
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        raise InputError(
            f"{what} have {values[place]} at {list(place)}",
            legal="finite numbers",
            fix="leave the span out, or give a unit without a score 0",
        )
