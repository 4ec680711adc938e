"""The metrics of one labelled span or word: what an item and a prediction are compared by.

They are registered through the same hook as those of plugins; the formulas are in
:mod:`omnitrace.evaluation.metrics.agreement`. None says that a metric means nothing for an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np

from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.examples import LabelledItem, Place, predicted_places
from omnitrace.evaluation.labels.matching import Box
from omnitrace.evaluation.metrics.agreement import (
    average_precision,
    box_iou,
    cite_scores,
    option_consistency,
    set_scores,
    time_scores,
    top_one,
)
from omnitrace.types import ImageRegion, TimeRange

__all__ = ["METRICS", "WORD_METRICS", "Metric", "side_by_side"]

_Pair: TypeAlias = tuple[list[Box], list[Box]]


class Metric(Protocol):
    """Scores what a method says of one labelled span, or word, of one example."""

    def __call__(self, item: LabelledItem, prediction: Prediction, /) -> float | None:
        """Return the score, or None where it means nothing; then it is counted, not averaged.

        ``prediction`` is what the trace says if it is ``item.prediction``, else a baseline's.
        """


def precision(item: LabelledItem, prediction: Prediction) -> float:
    """Share of the chosen units that are true."""
    return set_scores(prediction.chosen, item.truth).precision


def recall(item: LabelledItem, prediction: Prediction) -> float:
    """Share of the true units that are chosen."""
    return set_scores(prediction.chosen, item.truth).recall


def f1(item: LabelledItem, prediction: Prediction) -> float:
    """F1 of the chosen units as a set against the true ones."""
    return set_scores(prediction.chosen, item.truth).f1


def cite_f1(item: LabelledItem, prediction: Prediction) -> float:
    """F1 of the chosen units against those that show what bears the value, source by source."""
    return cite_scores(prediction.chosen, item.shown).f1


def time_f1(item: LabelledItem, prediction: Prediction) -> float | None:
    """F1 of the one-second bins, where the label names seconds."""
    if not item.seconds:
        return None
    said, true = _intervals(item, prediction)
    return time_scores([(box[0], box[2]) for box in said], [(box[0], box[2]) for box in true]).f1


def interval_iou(item: LabelledItem, prediction: Prediction) -> float | None:
    """Intersection over union of the chosen and the labelled seconds, where there are such."""
    return box_iou(*_intervals(item, prediction)) if item.seconds else None


def region_iou(item: LabelledItem, prediction: Prediction) -> float | None:
    """Intersection over union of the chosen and the labelled regions, where there are such."""
    if not item.regions:
        return None
    units = [unit for unit in item.units if unit.id in prediction.chosen]
    return box_iou(*side_by_side(predicted_places(units, ImageRegion), item.regions))


def top1(item: LabelledItem, prediction: Prediction) -> float | None:
    """Whether the strongest unit is true; of a traced span, its strongest support is meant."""
    if not item.truth:
        return None
    if prediction is item.prediction and item.word is None:
        return float(item.top in item.truth)
    truth = _true(item)
    return top_one(prediction.scores, truth) if truth.any() else 0.0


def auprc(item: LabelledItem, prediction: Prediction) -> float | None:
    """Average precision of the unit scores, before any selection."""
    return average_precision(prediction.scores, _true(item)) if item.truth else None


def consistency(item: LabelledItem, prediction: Prediction) -> float | None:
    """Whether the option with the most mass in the span is the one that was chosen.

    OmniTrace, Appendix B.3. None where there are no options, or where units cannot tell them
    apart: an option that no unit carries (as when the question is an instruction and no source),
    or one that shares a unit with another.
    """
    if item.option is None or not all(item.options):
        return None
    if len(frozenset().union(*item.options)) < sum(map(len, item.options)):
        return None
    scores = item.masses if prediction is item.prediction else prediction.scores
    by_id = {unit.id: float(score) for unit, score in zip(item.units, scores, strict=True)}
    masses = [sum(by_id[name] for name in option) for option in item.options]
    return option_consistency(masses, item.option)


METRICS: Final[Mapping[str, Metric]] = {
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "cite_f1": cite_f1,
    "time_f1": time_f1,
    "box_iou": region_iou,
    "interval_iou": interval_iou,
    "top1": top1,
    "auprc": auprc,
    "option_consistency": consistency,
}
"""The metrics of this package, by name, in the order of columns."""
#: Those that also score words, which have masses but no chosen units.
WORD_METRICS: Final = ("top1", "auprc")


def _true(item: LabelledItem) -> np.ndarray:
    return np.array([unit.id in item.truth for unit in item.units], dtype=bool)


def _intervals(item: LabelledItem, prediction: Prediction) -> _Pair:
    units = [unit for unit in item.units if unit.id in prediction.chosen]
    return side_by_side(predicted_places(units, TimeRange), item.seconds)


def side_by_side(first: Sequence[Place], second: Sequence[Place]) -> tuple[list[Box], list[Box]]:
    """Put the parts of a request beside each other on one axis, so that none overlaps another.

    The shifts are whole numbers: bins of a second stay what they are.
    """
    shifts: dict[tuple[int, int], float] = {}
    reached = 0.0
    for part in sorted({part for part, _ in [*first, *second]}):
        shifts[part] = reached
        longest = max(box[2] for here, box in [*first, *second] if here == part)
        reached += float(np.ceil(longest)) + 1.0
    moved = [
        [(x0 + shifts[part], y0, x1 + shifts[part], y1) for part, (x0, y0, x1, y1) in places]
        for places in (first, second)
    ]
    return moved[0], moved[1]
