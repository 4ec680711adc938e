"""What every method says of every labelled span and word, measured in one go, and scored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

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
from omnitrace.evaluation.examples import Item
from omnitrace.evaluation.measured_effects import Measured
from omnitrace.evaluation.metrics.labelled_causal import needed_masks
from omnitrace.evaluation.metrics.registry import Selection
from omnitrace.evaluation.rows import TRACED, Row, score

__all__ = ["Said", "Told", "measure_said", "said_of", "score_said"]

#: Told the forward passes that are done and those in all, first with 0 before any of them.
Told: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Said:
    """What a method says of an item; None where it says nothing, or the trace not the item."""

    item: Item
    method: str
    prediction: Prediction | None


def said_of(
    items: Sequence[Item],
    methods: Mapping[str, Mapping[int, Prediction]],
    *,
    baselines: bool = True,
    seed: int = 0,
) -> list[Said]:
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
    found = [Said(item, TRACED, item.prediction) for item in items]
    if baselines:
        found += _baselines(items, seed)
    for method, by_index in methods.items():
        for index, item in enumerate(items):
            if item.word is None or method != SELF:  # which is not asked about words
                found.append(_said(item, method, by_index.get(index)))
    return found


def _said(item: Item, method: str, prediction: Prediction | None) -> Said:
    return Said(item, method, None if item.prediction is None else prediction)


def _baselines(items: Sequence[Item], seed: int) -> Iterator[Said]:
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


def measure_said(said: Sequence[Said], metrics: Collection[str], told: Told | None = None) -> None:
    """Measure the masks that metrics of effects need, each example's in one go.

    Parameters
    ----------
    said:
        What all methods say; words are not measured.
    metrics:
        Names of the metrics; those of labels need nothing.
    told:
        Called before the first forward pass, and after each example.
    """
    wanted: dict[Measured, list[np.ndarray]] = {}
    for each in said:
        measured = each.item.measured
        if measured is not None and each.item.word is None and each.prediction is not None:
            masks = needed_masks(metrics, each.item, each.prediction)
            if len(masks):
                wanted.setdefault(measured, []).append(masks)
    missing = [(each, each.missing(np.concatenate(masks))) for each, masks in wanted.items()]
    done, total = 0, sum(len(masks) for _, masks in missing)
    if not total:
        return
    tell = told or (lambda done, total: None)
    tell(0, total)
    for measured, masks in missing:
        measured.prepare(masks)
        done += len(masks)
        tell(done, total)


def score_said(said: Sequence[Said], selection: Selection) -> tuple[Row, ...]:
    """Score what all methods say by the chosen metrics."""
    return tuple(
        score(
            each.item,
            each.method,
            each.prediction,
            selection.spans if each.item.word is None else selection.words,
        )
        for each in said
    )
