"""Metrics of label agreement: pure functions on sets and arrays, each with its formula.

A metric that means nothing for its input (a rank where no unit is true) is None, so that it can be
counted apart: it is neither 0 nor left out unseen.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.matching import Box

__all__ = [
    "CalibrationBin",
    "PositionBias",
    "SetScores",
    "abstention_auroc",
    "abstention_f1",
    "auroc",
    "average_precision",
    "box_iou",
    "calibration_bins",
    "calibration_error",
    "cite_scores",
    "interval_iou",
    "micro_scores",
    "modality_shares",
    "option_consistency",
    "position_bias",
    "set_scores",
    "time_bins",
    "time_scores",
    "top_one",
]

_EPSILON: Final = 1e-9


@dataclass(frozen=True, slots=True)
class SetScores:
    """Precision, recall and F1 of a predicted set, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def set_scores(predicted: AbstractSet[Hashable], truth: AbstractSet[Hashable]) -> SetScores:
    """Compare two sets: ``|P∩T|/|P|``, ``|P∩T|/|T|`` and ``2|P∩T|/(|P|+|T|)``.

    Two empty sets agree (all 1); where only one is empty, all are 0. Averaged over spans this is
    the span F1 of the OmniTrace paper, as far as it can be known.
    """
    return _scores(len(predicted & truth), len(predicted), len(truth))


def cite_scores(
    predicted: AbstractSet[Hashable], shown: Sequence[AbstractSet[Hashable]]
) -> SetScores:
    """Compare named units ``P`` with what shows each source, ``R_1 … R_n``, and ``R`` their union.

    Precision ``|P∩R|/|P|``; recall is the share of the sources with ``P∩R_i`` not empty: of two
    units that show the same thing one is enough, and both are right. F1 is their harmonic mean.
    Without sources all are 1 if nothing is named, else 0; with sources and nothing named, 0.
    """
    if not predicted or not shown:
        return _scores(0, len(predicted), len(shown))
    precision = len(predicted & frozenset().union(*shown)) / len(predicted)
    recall = sum(bool(predicted & each) for each in shown) / len(shown)
    both = precision + recall
    return SetScores(precision, recall, 2 * precision * recall / both if both else 0.0)


def micro_scores(counts: Iterable[tuple[int, int, int]]) -> SetScores:
    """Compare all spans at once: sums of ``(|P∩T|, |P|, |T|)`` instead of a mean of quotients."""
    rows = np.array(list(counts), dtype=np.int64).reshape(-1, 3)
    common, predicted, true = (int(value) for value in rows.sum(axis=0))
    return _scores(common, predicted, true)


def _scores(common: int, predicted: int, true: int) -> SetScores:
    if not predicted and not true:
        return SetScores(1.0, 1.0, 1.0)
    return SetScores(
        precision=common / predicted if predicted else 0.0,
        recall=common / true if true else 0.0,
        f1=2 * common / (predicted + true),
    )


def time_bins(intervals: Iterable[tuple[float, float]], width: float = 1.0) -> frozenset[int]:
    """Return the numbers of the bins ``[k·width, (k+1)·width)`` that the intervals lie in.

    The rule is that of units and evidence: more than half of the smaller of the two lies in the
    other; an interval for which no bin passes lies in those that it shares most with. So an
    interval from 0.96 to 2.0 s is in second 1, and one from 0.5 to 1.5 s in seconds 0 and 1.

    Parameters
    ----------
    intervals:
        ``(start, end)`` in seconds, start < end; others are left out.
    width:
        Length of a bin in seconds, above 0.
    """
    if not width > 0:
        raise InputError(f"bins of {width!r} seconds", legal="a width above 0")
    found: set[int] = set()
    for start, end in intervals:
        if not start < end:
            continue
        first, last = math.floor(start / width), math.ceil(end / width)
        shared = {k: min(end, (k + 1) * width) - max(start, k * width) for k in range(first, last)}
        half = 0.5 * min(width, end - start) + _EPSILON
        passing = {k for k, common in shared.items() if common > half}
        most = max(shared.values())
        found |= passing or {k for k, common in shared.items() if common >= most - _EPSILON}
    return frozenset(found)


def time_scores(
    predicted: Iterable[tuple[float, float]],
    truth: Iterable[tuple[float, float]],
    width: float = 1.0,
) -> SetScores:
    """Compare two sets of intervals by their bins (Time-F1: bins of one second of the medium)."""
    return set_scores(time_bins(predicted, width), time_bins(truth, width))


def interval_iou(
    predicted: Sequence[tuple[float, float]], truth: Sequence[tuple[float, float]]
) -> float | None:
    """Intersection over union of two unions of intervals, in [0, 1]; None if both are empty.

    For one interval each, ``|A∩B|/|A∪B|``.
    """
    flat = [[(a, 0.0, b, 1.0) for a, b in intervals] for intervals in (predicted, truth)]
    return box_iou(flat[0], flat[1])


def box_iou(predicted: Sequence[Box], truth: Sequence[Box]) -> float | None:
    """Intersection over union of two unions of boxes ``(x0, y0, x1, y1)``; None if both are empty.

    For one box each, ``area(A∩B)/area(A∪B)``, in [0, 1]. Exact: the plane is cut along all edges.
    """
    boxes = np.array([*predicted, *truth], dtype=np.float64).reshape(-1, 4)
    xs, ys = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    if len(xs) < 2 or len(ys) < 2:
        return None
    areas = np.diff(xs)[:, None] * np.diff(ys)[None, :]
    first = _covered(boxes[: len(predicted)], xs, ys)
    second = _covered(boxes[len(predicted) :], xs, ys)
    union = float(areas[first | second].sum())
    return float(areas[first & second].sum()) / union if union > 0 else None


def _covered(boxes: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Say which pieces of the plane, ``[xs - 1, ys - 1]``, lie in any of the boxes."""
    covered = np.zeros((len(xs) - 1, len(ys) - 1), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        across = (xs[:-1] >= x0) & (xs[1:] <= x1)
        covered |= across[:, None] & ((ys[:-1] >= y0) & (ys[1:] <= y1))[None, :]
    return covered


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Area under the precision-recall curve of unit scores, ``Σ_n (R_n − R_{n−1})·P_n``.

    The definition of scikit-learn's ``average_precision_score``, without its checks, which take
    forty times as long for a few units. Ties are one step, so constant scores give the share of
    true units. None where no unit is true.

    Parameters
    ----------
    scores:
        float ``[units]``, finite.
    truth:
        bool ``[units]``.
    """
    total = int(np.count_nonzero(truth))
    if not total:
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    steps = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = np.cumsum(truth[order])[steps]
    return float(np.sum(np.diff(hits, prepend=0) / total * hits / (steps + 1)))


def top_one(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Whether the unit of highest score is true: 1 or 0; with ties, the share that is.

    None where no unit is true; 0 where no score is above 0, since nothing was chosen then.
    """
    if not np.any(truth):
        return None
    best = float(np.max(scores))
    return float(np.mean(truth[scores == best])) if best > 0 else 0.0


def abstention_f1(
    predicted: Sequence[bool] | np.ndarray, truth: Sequence[bool] | np.ndarray
) -> float | None:
    """F1 of "ungrounded" over spans, against those that are labelled to have no evidence.

    None where neither the labels nor the predictions hold one.
    """
    said, true = np.asarray(predicted, dtype=bool), np.asarray(truth, dtype=bool)
    if said.shape != true.shape:
        raise InputError(f"{len(said)} predictions for {len(true)} labels", legal="as many of each")
    either = int(said.sum()) + int(true.sum())
    return 2 * int((said & true).sum()) / either if either else None


def abstention_auroc(
    grounding: Sequence[float] | np.ndarray, truth: Sequence[bool] | np.ndarray
) -> float | None:
    """Chance that a span without evidence has a lower grounding than one with (ties: one half).

    The area under the ROC curve of ``1 − grounding``. None where the labels are all alike.
    """
    return auroc(-np.asarray(grounding, dtype=float), truth)


def auroc(scores: Sequence[float] | np.ndarray, truth: Sequence[bool] | np.ndarray) -> float | None:
    """Chance that what is true has a higher score than what is not (ties: one half).

    The area under the ROC curve (Hanley & McNeil 1982); scores may be infinite. None where the
    labels are all alike.
    """
    true, values = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=float)
    if true.shape != values.shape:
        raise InputError(f"{len(values)} values for {len(true)} labels", legal="as many of each")
    high, low = values[true], np.sort(values[~true])
    if not len(high) or not len(low):
        return None
    below = np.searchsorted(low, high, side="left")
    ties = np.searchsorted(low, high, side="right") - below
    return float(np.mean(below + ties / 2)) / len(low)


def option_consistency(masses: Sequence[float], chosen: int) -> float | None:
    """Whether the option with the most mass in the answer span is the chosen one: 1 or 0.

    The measure of OmniTrace (Appendix B.3), for one multiple-choice question. With ties for the
    most mass, the chosen option gets its share; None where no option has any.

    Parameters
    ----------
    masses:
        Mass of each option's text in the answer span, of 0 or more.
    chosen:
        Index of the option that the model chose.
    """
    if not 0 <= chosen < len(masses):
        raise InputError(f"option {chosen} was chosen", legal=f"0 to {len(masses) - 1}")
    most = max(masses)
    if not most > 0:
        return None
    return (masses[chosen] == most) / sum(mass == most for mass in masses)


def modality_shares(masses: Sequence[float], modalities: Sequence[str]) -> dict[str, float] | None:
    """Share of the mass of all units that lies on each modality; None where there is no mass."""
    total = math.fsum(masses)
    if not total > 0:
        return None
    shares = dict.fromkeys(modalities, 0.0)
    for mass, modality in zip(masses, modalities, strict=True):
        shares[modality] += mass / total
    return shares


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The spans whose predicted share lies in ``[low, high)`` (the last bin holds 1 too).

    ``predicted`` and ``labelled`` are their means, ``count`` their number.
    """

    low: float
    high: float
    count: int
    predicted: float
    labelled: float


def calibration_bins(
    predicted: Sequence[float], labelled: Sequence[float], bins: int = 10
) -> list[CalibrationBin]:
    """Group predicted shares into equal bins of [0, 1] beside the labelled ones; empty bins go.

    Reliability diagram of the modality mass (OmniTrace, Fig. 3): a calibrated signal lies on the
    diagonal.

    Raises
    ------
    InputError
        If a share is outside [0, 1], there is no bin, or the lengths differ.
    """
    p, t = np.asarray(predicted, dtype=float), np.asarray(labelled, dtype=float)
    if bins < 1 or p.shape != t.shape:
        raise InputError(
            f"{len(p)} predicted and {len(t)} labelled shares in {bins} bins",
            legal="as many of each, and at least one bin",
        )
    # Sums of shares may miss 0 and 1 by rounding.
    if p.size and not (
        min(p.min(), t.min()) >= -_EPSILON and max(p.max(), t.max()) <= 1 + _EPSILON
    ):
        raise InputError("a share is outside [0, 1]", legal="shares from 0 to 1")
    index = np.clip((p * bins + _EPSILON).astype(int), 0, bins - 1)
    return [
        CalibrationBin(
            low=k / bins,
            high=(k + 1) / bins,
            count=int((index == k).sum()),
            predicted=float(p[index == k].mean()),
            labelled=float(t[index == k].mean()),
        )
        for k in range(bins)
        if (index == k).any()
    ]


def calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """Mean distance from the diagonal, ``Σ_b n_b·|predicted_b − labelled_b| / n``, in [0, 1].

    The expected calibration error; None without any span.
    """
    count = sum(each.count for each in bins)
    if not count:
        return None
    return sum(each.count * abs(each.predicted - each.labelled) for each in bins) / count


@dataclass(frozen=True, slots=True)
class PositionBias:
    """Where the selected units stand, from 0 (first) to 1 (last).

    ``positions`` are sorted; at ``positions[i]`` the empirical distribution reaches ``cdf[i]``.
    ``mean`` is 0.5 without bias; ``distance`` is the largest distance of the distribution from the
    uniform one (Kolmogorov-Smirnov), in [0, 1].
    """

    positions: tuple[float, ...] = field(repr=False)
    cdf: tuple[float, ...] = field(repr=False)
    mean: float
    distance: float


def position_bias(positions: Sequence[float]) -> PositionBias | None:
    """Compare normalised positions in [0, 1] with the uniform distribution; None without any.

    ``D = max_i max(i/n − x_(i), x_(i) − (i−1)/n)`` over the sorted positions.
    """
    x = np.sort(np.asarray(positions, dtype=float))
    n = len(x)
    if not n:
        return None
    if x[0] < 0 or x[-1] > 1:
        raise InputError(f"positions from {x[0]:g} to {x[-1]:g}", legal="positions from 0 to 1")
    steps = np.arange(1, n + 1) / n
    distance = max(float((steps - x).max()), float((x - steps + 1 / n).max()))
    return PositionBias(tuple(x.tolist()), tuple(steps.tolist()), float(x.mean()), distance)
