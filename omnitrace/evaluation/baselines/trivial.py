"""What every attribution is compared with: choices that look at the sources, never at the signal.

A baseline scores the units of a request and chooses some of them, as an attribution does. A figure
without these beside it is not a result.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from omnitrace.errors import InputError
from omnitrace.trace.trace import Trace
from omnitrace.types import Modality, SourceUnit

__all__ = [
    "Embeddings",
    "PositionPrior",
    "Prediction",
    "all_units",
    "best_units",
    "embedding_similarity",
    "longest_unit",
    "no_unit",
    "places",
    "random_units",
]

_BINS: Final = 20
_REACH: Final = 0.1  # a true unit counts for places up to this far from its own


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a method says of a span: float ``[units]`` scores, and the ids that it chose."""

    scores: np.ndarray
    chosen: frozenset[str]


def random_units(
    units: Sequence[SourceUnit], key: str, *, count: int = 1, seed: int = 0
) -> Prediction:
    """Score the units at random, and choose the ``count`` best; the same key gives the same."""
    draw = random.Random(f"{seed}-{key}")
    return best_units(units, np.array([draw.random() for _ in units]), count)


def all_units(units: Sequence[SourceUnit]) -> Prediction:
    """Choose every unit, all with the same score: also the *uniform* baseline of scores."""
    return Prediction(np.ones(len(units)), frozenset(unit.id for unit in units))


def no_unit(units: Sequence[SourceUnit]) -> Prediction:
    """Choose nothing: every span is said to be without evidence."""
    return Prediction(np.zeros(len(units)), frozenset())


def longest_unit(units: Sequence[SourceUnit]) -> Prediction:
    """Score units by the number of prompt tokens that carry them, and choose the first longest."""
    return best_units(units, np.array([float(len(unit.positions)) for unit in units]), 1)


def places(units: Sequence[SourceUnit]) -> list[float]:
    """Place of each unit among those of its modality, from 0 for the first to 1 for the last."""
    seen: dict[Modality, int] = {}
    numbers = []
    for unit in units:
        numbers.append(seen.get(unit.modality, 0))
        seen[unit.modality] = numbers[-1] + 1
    return [
        number / max(1, seen[unit.modality] - 1)
        for number, unit in zip(numbers, units, strict=True)
    ]


@dataclass(slots=True)
class PositionPrior:
    """Where the true units of *other* examples stand, and nothing else.

    A unit's score is the number of true units of its modality that were seen near its place; each
    counts ``1 − distance/0.1``, down to 0. The scores are kept by example, so that one can be left
    out of what evaluates it.
    """

    _counts: dict[tuple[str | None, Modality], np.ndarray] = field(default_factory=dict)

    def add(self, example: str, units: Sequence[SourceUnit], truth: AbstractSet[str]) -> None:
        """Count the true units of one span (or word) of an example."""
        for unit, place in zip(units, places(units), strict=True):
            if unit.id in truth:
                for name in (example, None):  # None stands for all examples together
                    counts = self._counts.setdefault((name, unit.modality), _empty())
                    counts[round(place * _BINS)] += 1

    def predict(
        self,
        units: Sequence[SourceUnit],
        *,
        without: str | None = None,
        modality: Modality | None = None,
    ) -> Prediction:
        """Score the units, and choose the best one; none where nothing was ever seen.

        Parameters
        ----------
        units:
            The units of a request.
        without:
            The example that is evaluated; what was counted of it does not count.
        modality:
            Give the prior the place of the evidence; other units then score 0.
        """
        grid = np.arange(_BINS + 1) / _BINS
        scores = np.zeros(len(units))
        for index, (unit, place) in enumerate(zip(units, places(units), strict=True)):
            if modality in (None, unit.modality):
                counts = self._counts.get((None, unit.modality), _empty())
                if without is not None:
                    counts = counts - self._counts.get((without, unit.modality), _empty())
                near = np.maximum(0.0, 1 - np.abs(grid - place) / _REACH)
                scores[index] = float(counts @ near)
        return best_units(units, scores, 1)


def _empty() -> np.ndarray:
    return np.zeros(_BINS + 1)


class Embeddings(Protocol):
    """Input embeddings, ``[vocabulary, width]``: an array, or what is read like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(vocabulary, width)``."""

    def __len__(self) -> int: ...

    def __getitem__(self, ids: list[int], /) -> np.ndarray: ...


def embedding_similarity(
    trace: Trace, tokens: tuple[int, int], embeddings: Embeddings
) -> Prediction:
    """Score text units by cosine similarity with the span, in the model's own input embeddings.

    Both are means of the embeddings of their tokens. Units of other modalities score 0: their
    prompt tokens are placeholders, the same for every region and second.

    Parameters
    ----------
    trace:
        The trace, not redacted.
    tokens:
        Half-open range of the span's generated tokens.
    embeddings:
        float ``[vocabulary, width]``, those of the model: an array, or
        :class:`~omnitrace.evaluation.model_access.InputEmbeddings`.

    Raises
    ------
    InputError
        If the trace is redacted, or holds ids that the embeddings do not.
    """
    ids = [*trace.prompt_ids, *trace.token_ids]
    if ids and not 0 <= min(ids) <= max(ids) < len(embeddings):
        raise InputError(
            f"the trace has token ids from {min(ids)} to {max(ids)}",
            legal=f"0 to {len(embeddings) - 1}, as the embeddings have",
            fix="use the embeddings of the model that was traced, and a trace that is not redacted",
        )
    said = _mean(embeddings, trace.token_ids[slice(*tokens)])
    scores = np.zeros(len(trace.units))
    for index, unit in enumerate(trace.units):
        if unit.modality == "text":
            source = _mean(embeddings, [trace.prompt_ids[i] for i in unit.positions])
            norm = float(np.linalg.norm(source) * np.linalg.norm(said))
            scores[index] = max(0.0, float(source @ said) / norm) if norm > 0 else 0.0
    return best_units(trace.units, scores, 1)


def _mean(embeddings: Embeddings, ids: Sequence[int]) -> np.ndarray:
    if not ids:
        return np.zeros(embeddings.shape[1])
    rows: np.ndarray = np.asarray(embeddings[list(ids)], dtype=np.float64)
    return np.asarray(rows.mean(axis=0))


def best_units(units: Sequence[SourceUnit], scores: np.ndarray, count: int) -> Prediction:
    """Choose the units of highest score, the first of equal ones, none without a score."""
    order = np.argsort(-scores, kind="stable")[:count]
    return Prediction(scores, frozenset(units[i].id for i in order if scores[i] > 0))
