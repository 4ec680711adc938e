"""Score labelled spans and words: one row for each of them and each method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.metrics.spans import METRICS, WORD_METRICS, Metric

__all__ = ["TRACED", "ScoreRow", "score"]

TRACED: Final = "trace"
"""Name of the method that is evaluated; the others are baselines."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """How one method did on one labelled span, or on one labelled word.

    ``values`` holds the metrics, None where one means nothing: all of them where the trace does
    not say the span (``said`` is false), the ranks where no unit is true, Time-F1 and the IoUs
    where the label names no seconds or no region. ``counts`` are ``(|P∩T|, |P|, |T|)``,
    ``length`` is the number of words of the labelled span.
    """

    example: str
    span: int
    word: int | None
    method: str
    category: str | None
    modality: str
    sources: int
    length: int
    said: bool
    abstained: bool
    grounding: float | None
    counts: tuple[int, int, int]
    values: dict[str, float | None]

    @property
    def level(self) -> str:
        """What is scored: "span" or "word"."""
        return "span" if self.word is None else "word"


def score(
    item: LabelledItem,
    method: str,
    prediction: Prediction | None,
    metrics: Mapping[str, Metric] | None = None,
) -> ScoreRow:
    """Score what a method says of an item; None is the item that the trace does not say.

    Parameters
    ----------
    item, method, prediction:
        What is scored, and what the method says of it.
    metrics:
        By name; without, those of this package for a span or a word.
    """
    if metrics is None:
        names = METRICS if item.word is None else WORD_METRICS
        metrics = {name: METRICS[name] for name in names}
    said_span = prediction is not None and item.word is None
    traced = method == TRACED
    common, abstained = (0, 0, 0), False
    if prediction is not None and item.word is None:
        abstained = item.ungrounded if traced else not prediction.chosen
        shared = len(prediction.chosen & item.truth)
        common = (shared, len(prediction.chosen), len(item.truth))
    return ScoreRow(
        example=item.example,
        span=item.span,
        word=item.word,
        method=method,
        category=item.category,
        modality=item.modality,
        sources=item.sources,
        length=item.length,
        said=prediction is not None,
        abstained=abstained,
        grounding=item.grounding if said_span and traced else None,
        counts=common,
        values={
            name: None if prediction is None else metric(item, prediction)
            for name, metric in metrics.items()
        },
    )
