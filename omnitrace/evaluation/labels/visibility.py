"""Which source units show what bears a labelled value, and how much of it each shows.

The evidence of a label is the place that a person would point at; what bears the value may be seen
elsewhere too. An object on the border of two cells is shown by both, and a colour that stands for
2.8 seconds by every second in it, whichever second was asked about. A source says in ``shows``
where that is; without it, the evidence itself is meant.

*A unit shows a source if it holds at least a tenth of the smaller of the two, the unit or what
bears the value*, in pixels or seconds, or if it names the evidence
(:mod:`omnitrace.evaluation.labels.matching`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from omnitrace.evaluation.labels.matching import Box, fits, named_units
from omnitrace.evaluation.labels.schema import ImageSource, Source, TextSource
from omnitrace.sources.regions import boxes_of
from omnitrace.sources.token_map import shared_area
from omnitrace.types import ImageRegion, Message, SourceUnit, TextRange

__all__ = ["SHOWN", "shown_shares", "shown_units"]

#: Share of the smaller of the two, unit and what bears the value, from which on the unit shows it.
SHOWN: Final = 0.1
# Areas and seconds are sums of rounded numbers.
_ROUNDING: Final = 1e-9


def shown_shares(source: Source, units: Sequence[SourceUnit]) -> dict[str, float]:
    """Return the share of what bears the value that each unit holds, in (0, 1], by the unit's id.

    Units that hold nothing of it are left out. Of a text, and of an image without a box, nothing
    is known but the evidence: there are no shares.
    """
    regions = _regions(source)
    whole = sum(shared_area(region, region) for region in regions)
    held = {unit.id: _held(unit, regions) for unit in units if fits(unit, source)}
    return {name: common / whole for name, common in held.items() if common > 0}


def shown_units(
    source: Source, units: Sequence[SourceUnit], messages: Sequence[Message] = ()
) -> frozenset[str]:
    """Return the ids of the units that show a source; those that name it are among them.

    Parameters
    ----------
    source, units, messages:
        As for :func:`~omnitrace.evaluation.labels.matching.named_units`.

    Raises
    ------
    InputError
        If a quote does not occur exactly once in its part.
    """
    regions = _regions(source)
    whole = sum(shared_area(region, region) for region in regions)
    showing = {
        unit.id
        for unit in units
        if regions
        and fits(unit, source)
        and _held(unit, regions) >= SHOWN * min(_size(unit), whole) - _ROUNDING
    }
    return named_units(source, units, messages) | showing


def _regions(source: Source) -> list[Box]:
    """Return where what bears the value is: boxes, or seconds as boxes of height 1."""
    if isinstance(source, TextSource):
        return []
    if isinstance(source, ImageSource):
        boxes = source.shows or ((source.box,) if source.box else ())
        return list(boxes)
    seconds = source.shows or ((source.start, source.end),)
    return [_strip(start, end) for start, end in seconds]


def _strip(start: float, end: float) -> Box:
    return start, 0.0, end, 1.0


def _boxes(unit: SourceUnit) -> list[Box]:
    locator = unit.locator
    if isinstance(locator, ImageRegion):
        return list(boxes_of(locator))
    assert not isinstance(locator, TextRange), "no region of a text is compared"
    return [_strip(locator.start, locator.end)]


def _size(unit: SourceUnit) -> float:
    return sum(shared_area(box, box) for box in _boxes(unit))


def _held(unit: SourceUnit, regions: Sequence[Box]) -> float:
    """Return how much of the regions lies in a unit; neither overlap among themselves."""
    if not regions:
        return 0.0
    return sum(shared_area(box, region) for box in _boxes(unit) for region in regions)
