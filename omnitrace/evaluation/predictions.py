"""What every method says of every labelled span and word, measured in one go, and scored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omnitrace.evaluation.baselines.self_citation import SELF
from omnitrace.evaluation.baselines.trivial import (
    PositionPrior,
    Prediction,
    all_units,
    longest_unit,
    no_unit,
    random_units,
)
from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.measured_effects import MeasuredResponse
from omnitrace.evaluation.metrics.labelled_causal import needed_masks
from omnitrace.evaluation.metrics.registry import MetricSet
from omnitrace.evaluation.progress import PassesCallback, no_passes
from omnitrace.evaluation.rows import TRACED, ScoreRow, score

__all__ = ["MethodOutput", "measure_outputs", "method_outputs", "score_outputs"]


@dataclass(frozen=True, slots=True)
class MethodOutput:
    """What a method says of an item; None where it says nothing, or the trace not the item."""

    item: LabelledItem
    method: str
    prediction: Prediction | None


def method_outputs(
    items: Sequence[LabelledItem],
    methods: Mapping[str, Mapping[int, Prediction]],
    *,
    baselines: bool = True,
    seed: int = 0,
) -> list[MethodOutput]:
    """Return what the trace, the baselines and other methods say of every item.

    Parameters
    ----------
    items:
        All labelled spans and words.
    methods:
        What other methods than the trace say, by the index of the item.
    baselines:
        Add the methods that only look at the units.
    seed:
        Of the random baseline.
    """
    found = [MethodOutput(item, TRACED, item.prediction) for item in items]
    if baselines:
        found += _baselines(items, seed)
    for method, by_index in methods.items():
        for index, item in enumerate(items):
            if item.word is None or method != SELF:  # which is not asked about words
                found.append(_said(item, method, by_index.get(index)))
    return found


def _said(item: LabelledItem, method: str, prediction: Prediction | None) -> MethodOutput:
    return MethodOutput(item, method, None if item.prediction is None else prediction)


def _baselines(items: Sequence[LabelledItem], seed: int) -> Iterator[MethodOutput]:
    prior = PositionPrior()
    for item in items:
        prior.add(item.example, item.units, item.truth)
    for item in items:
        key = f"{item.example}-{item.span}-{item.word}"
        for name, prediction in {
            "random": random_units(item.units, key, seed=seed),
            "all": all_units(item.units),
            "longest": longest_unit(item.units),
            "none": no_unit(item.units),
            "position": prior.predict(item.units, without=item.example),
        }.items():
            yield _said(item, name, prediction)


def measure_outputs(
    outputs: Sequence[MethodOutput],
    metrics: Collection[str],
    progress: PassesCallback = no_passes,
) -> None:
    """Measure the masks that metrics of effects need, each example's in one go.

    Parameters
    ----------
    outputs:
        What all methods say; words are not measured.
    metrics:
        Names of the metrics; those of labels need nothing.
    progress:
        Called before the first forward pass, and after each example.
    """
    wanted: dict[MeasuredResponse, list[np.ndarray]] = {}
    for each in outputs:
        measured = each.item.measured
        if measured is not None and each.item.word is None and each.prediction is not None:
            masks = needed_masks(metrics, each.item, each.prediction)
            if len(masks):
                wanted.setdefault(measured, []).append(masks)
    missing = [(each, each.missing(np.concatenate(masks))) for each, masks in wanted.items()]
    done, total = 0, sum(len(masks) for _, masks in missing)
    if not total:
        return
    progress(0, total)
    for measured, masks in missing:
        measured.prepare(masks)
        done += len(masks)
        progress(done, total)


def score_outputs(outputs: Sequence[MethodOutput], metrics: MetricSet) -> tuple[ScoreRow, ...]:
    """Score what all methods say by the metrics."""
    return tuple(
        score(
            each.item,
            each.method,
            each.prediction,
            metrics.spans if each.item.word is None else metrics.words,
        )
        for each in outputs
    )
