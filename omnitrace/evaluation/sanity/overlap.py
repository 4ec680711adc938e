"""How far two attributions of one response name the same sources, statement by statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnitrace.errors import InputError
from omnitrace.evaluation.metrics.bootstrap import Estimate
from omnitrace.evaluation.metrics.faithfulness import spearman
from omnitrace.evaluation.sanity.cases import Draws
from omnitrace.evaluation.sanity.variants import Place, UnitKey, key_of_unit
from omnitrace.evaluation.unit_scores import span_scores
from omnitrace.trace.trace import Trace
from omnitrace.types import SourceUnit, Span

__all__ = ["Attributed", "Overlap", "attributed", "attributed_by", "overlap_of", "overlaps"]

_FIGURES: Final = 4


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the supports of a signal are those that it, or another one, names elsewhere.

    ``signal`` is compared with itself under the change ``against``, or with the signal of that
    name. All are means over spans, with intervals over requests:

    - ``jaccard``: chosen supports in both over those in either, in [0, 1]; 1 where neither names
      one;
    - ``correlation``: Spearman's, of the scores of the units of the request, in [-1, 1]; undefined
      where one of the two gives all units the same score;
    - ``same_first``: whether the strongest support is the same; also where neither names one;
    - ``neither``: whether neither names one, so that the overlap is 1 without any source.
    """

    signal: str
    against: str
    jaccard: Estimate
    correlation: Estimate
    same_first: Estimate
    neither: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Attributed:
    """What a signal says of a response: ``scores`` is float64 ``[S, K]``.

    ``supports`` are those of each span, the strongest first.
    """

    units: tuple[UnitKey, ...]
    texts: tuple[str, ...]
    scores: np.ndarray
    supports: tuple[tuple[UnitKey, ...], ...]


def attributed(
    units: Sequence[SourceUnit],
    spans: Sequence[Span],
    scores: np.ndarray,
    places: Mapping[Place, Place] | None = None,
) -> Attributed:
    """Name units by their content; ``places`` is that of a variant."""
    keys = {unit.id: key_of_unit(unit, places) for unit in units}
    return Attributed(
        tuple(keys.values()),
        tuple(span.text for span in spans),
        scores,
        tuple(tuple(keys[each.unit.id] for each in span.supports) for span in spans),
    )


def attributed_by(trace: Trace, places: Mapping[Place, Place] | None = None) -> Attributed:
    """Return what a trace says."""
    return attributed(trace.units, trace.spans, span_scores(trace), places)


def overlaps(first: Attributed, second: Attributed) -> np.ndarray:
    """Compare two attributions of one response; the second has all units of the first.

    Returns
    -------
    numpy.ndarray
        float64 ``[S, 4]``: the figures of an :class:`Overlap`, NaN where undefined.

    Raises
    ------
    InputError
        If the spans are others, or units of the first are missing from the second.
    """
    if first.texts != second.texts:
        raise InputError(
            f"{len(first.texts)} spans became {len(second.texts)} others",
            legal="one response, cut into the same spans",
        )
    index = {key: i for i, key in enumerate(second.units)}
    missing = sum(key not in index for key in first.units)
    if missing:
        raise InputError(
            f"{missing} of {len(first.units)} units are not in the other request",
            legal="sources that are cut into the same units",
        )
    aligned = second.scores[:, [index[key] for key in first.units]]
    rows = [
        (_jaccard(a, b), spearman(x, y), float(a[:1] == b[:1]), float(not a and not b))
        for a, b, x, y in zip(first.supports, second.supports, first.scores, aligned, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, _FIGURES)


def overlap_of(
    signal: str, against: str, examples: Sequence[np.ndarray], interval: Draws
) -> Overlap:
    """Average what :func:`overlaps` gave, one array ``[·, 4]`` for each example."""
    figures = [interval.mean([each[:, i] for each in examples]) for i in range(_FIGURES)]
    return Overlap(signal, against, *figures)


def _jaccard(first: Sequence[UnitKey], second: Sequence[UnitKey]) -> float:
    either = {*first, *second}
    return len({*first} & {*second}) / len(either) if either else 1.0
