"""Where the supports of a statement lie, when they are not the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.labels.matching import named_units
from omnitrace.evaluation.labels.schema import Source
from omnitrace.types import ImageRegion, SourceUnit

__all__ = ["NO_EVIDENCE", "OUTCOMES", "RIGHT", "UNSAID", "outcome_of", "where_table"]

UNSAID: Final = "answered wrongly"
NO_EVIDENCE: Final = "has no evidence"
RIGHT: Final = "right"
_ONE_OF_BOTH: Final = "only one of both found"
# From near to far; where there are two pieces of evidence, the nearer one counts.
_NEXT: Final = "next to it: touching cell, next second or sentence"
_SAME: Final = "farther off in the same part"
_STREAM: Final = "the same video, sound for pictures or the reverse"
_PART: Final = "another part of the same modality"
_MODALITY: Final = "another modality"
_NOTHING: Final = "no support"

#: What a statement with evidence that was answered rightly can be.
OUTCOMES: Final = (RIGHT, _ONE_OF_BOTH, _NEXT, _SAME, _STREAM, _PART, _MODALITY, _NOTHING)


def outcome_of(item: LabelledItem, sources: Sequence[Source]) -> str:
    """Say how the supports of a statement lie to its evidence.

    One piece of evidence is found if the strongest support names it, two are if there is a support
    for each. Otherwise it says where the strongest support is.

    Parameters
    ----------
    item:
        The statement, and what a trace says of it.
    sources:
        Its evidence.
    """
    if item.prediction is None:
        return UNSAID
    if not sources:
        return NO_EVIDENCE
    if item.top is None:
        return _NOTHING
    if len(sources) == 1:
        found = [item.top in item.truth]
    else:
        found = [bool(named_units(each, item.units) & item.prediction.chosen) for each in sources]
    if all(found):
        return RIGHT
    return _ONE_OF_BOTH if any(found) else _place(item)


def _place(item: LabelledItem) -> str:
    top = next(unit for unit in item.units if unit.id == item.top)
    places = [_relation(top, unit, item.units) for unit in item.units if unit.id in item.truth]
    return min(places, key=OUTCOMES.index, default=_MODALITY)


def _relation(top: SourceUnit, true: SourceUnit, units: Sequence[SourceUnit]) -> str:
    same_part = _part(top) == _part(true)
    if top.modality != true.modality:
        return _STREAM if same_part else _MODALITY
    if not same_part:
        return _PART
    return _NEXT if _touch(top, true, units) else _SAME


def _part(unit: SourceUnit) -> tuple[int, int]:
    return unit.locator.message, unit.locator.part


def _touch(a: SourceUnit, b: SourceUnit, units: Sequence[SourceUnit]) -> bool:
    """Whether two units of one part and stream are neighbours; cells that share a corner are."""
    if isinstance(a.locator, ImageRegion) and isinstance(b.locator, ImageRegion):
        ax0, ay0, ax1, ay1 = a.locator.box
        bx0, by0, bx1, by1 = b.locator.box
        return max(ax0, bx0) <= min(ax1, bx1) + 1 and max(ay0, by0) <= min(ay1, by1) + 1
    row = [each.id for each in units if (_part(each), each.modality) == (_part(a), a.modality)]
    return abs(row.index(a.id) - row.index(b.id)) == 1


def where_table(
    outcomes: Mapping[tuple[str, int], str],
    groups: Mapping[tuple[str, int], frozenset[str]],
    columns: Sequence[str],
) -> dict[str, dict[str, int]]:
    """Count the outcomes of each column's statements, by outcome and column."""
    counts = {outcome: dict.fromkeys(columns, 0) for outcome in OUTCOMES}
    for key, outcome in outcomes.items():
        if outcome in counts:
            for column in groups[key] & set(columns):
                counts[outcome][column] += 1
    return counts
