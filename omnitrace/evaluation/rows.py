"""Score labelled spans and words: one row for each of them and each method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnitrace.evaluation.baselines import Prediction
from omnitrace.evaluation.items import Item, Place, predicted_places
from omnitrace.evaluation.matching import Box
from omnitrace.evaluation.metrics import (
    average_precision,
    box_iou,
    set_scores,
    time_scores,
    top_one,
)
from omnitrace.types import ImageRegion, TimeRange

__all__ = ["SPAN_METRICS", "TRACED", "WORD_METRICS", "Row", "score"]

SPAN_METRICS: Final = (
    "precision",
    "recall",
    "f1",
    "time_f1",
    "box_iou",
    "interval_iou",
    "top1",
    "auprc",
)
WORD_METRICS: Final = ("top1", "auprc")

#: Name of the method that is judged; the others are baselines.
TRACED: Final = "trace"


@dataclass(frozen=True, slots=True)
class Row:
    """How one method did on one labelled span, or on one labelled word.

    ``values`` holds the metrics, None where one means nothing: all of them where the trace does
    not say the span (``said`` is false), the ranks where no unit is true, Time-F1 and the IoUs
    where the label names no seconds or no region. ``counts`` are ``(|P∩T|, |P|, |T|)``.
    """

    example: str
    span: int
    word: int | None
    method: str
    category: str | None
    modality: str
    sources: int
    said: bool
    abstained: bool
    grounding: float | None
    counts: tuple[int, int, int]
    values: dict[str, float | None]

    @property
    def level(self) -> str:
        """What is scored: "span" or "word"."""
        return "span" if self.word is None else "word"


def score(item: Item, method: str, prediction: Prediction | None) -> Row:
    """Score what a method says of an item; None is the item that the trace does not say."""
    traced = method == TRACED
    common = (0, 0, 0)
    names = SPAN_METRICS if item.word is None else WORD_METRICS
    values: dict[str, float | None] = dict.fromkeys(names)
    abstained = False
    said_span = prediction is not None and item.word is None
    if prediction is not None:
        values.update(_ranks(item, prediction, item.top if traced else None, traced))
        if item.word is None:
            abstained = item.ungrounded if traced else not prediction.chosen
            values.update(_sets(item, prediction.chosen))
            shared = len(prediction.chosen & item.truth)
            common = (shared, len(prediction.chosen), len(item.truth))
    return Row(
        example=item.example,
        span=item.span,
        word=item.word,
        method=method,
        category=item.category,
        modality=item.modality,
        sources=item.sources,
        said=prediction is not None,
        abstained=abstained,
        grounding=item.grounding if said_span and traced else None,
        counts=common,
        values=values,
    )


def _ranks(
    item: Item, prediction: Prediction, top: str | None, traced: bool
) -> dict[str, float | None]:
    """Return top-1 and AUPRC; of a traced span, top-1 is its strongest support."""
    if not item.truth:
        return {"top1": None, "auprc": None}
    truth = np.array([unit.id in item.truth for unit in item.units], dtype=bool)
    if traced and item.word is None:
        first: float | None = float(top in item.truth)
    else:
        first = top_one(prediction.scores, truth) if truth.any() else 0.0
    return {"top1": first, "auprc": average_precision(prediction.scores, truth)}


def _sets(item: Item, chosen: frozenset[str]) -> dict[str, float | None]:
    found = set_scores(chosen, item.truth)
    values: dict[str, float | None] = {
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
    }
    units = [unit for unit in item.units if unit.id in chosen]
    if item.regions:
        regions = predicted_places(units, ImageRegion)
        values["box_iou"] = box_iou(*side_by_side(regions, item.regions))
    if item.seconds:
        said, true = side_by_side(predicted_places(units, TimeRange), item.seconds)
        values["interval_iou"] = box_iou(said, true)
        values["time_f1"] = time_scores(
            [(box[0], box[2]) for box in said], [(box[0], box[2]) for box in true]
        ).f1
    return values


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
