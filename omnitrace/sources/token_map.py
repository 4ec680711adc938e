"""Where the tokens of each part lie in the user's own coordinates.

A model adapter describes every part of a request by one of these; everything that turns positions
into units works on them alone and knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from omnitrace.sources.parts import MediaPart, TextPart
from omnitrace.sources.regions import Box, Grid, cell_box
from omnitrace.types import Locator, Modality

__all__ = [
    "Box",
    "Geometry",
    "GridTokens",
    "TextTokens",
    "TimeTokens",
    "UnitDraft",
    "shared_area",
]


def shared_area(a: Box, b: Box) -> float:
    """Return the area that two boxes ``(x0, y0, x1, y1)`` share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


@dataclass(frozen=True, slots=True)
class TextTokens:
    """Tokens of a text part: prompt ``positions`` and their character ranges in the part."""

    part: TextPart
    positions: Sequence[int]
    ranges: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class GridTokens:
    """Merged vision tokens of an image: row-major ``positions`` of a ``rows × columns`` grid."""

    part: MediaPart
    positions: Sequence[int]
    rows: int
    columns: int
    width: int
    height: int

    @property
    def grid(self) -> Grid:
        """``(rows, columns)``."""
        return self.rows, self.columns

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of the image as displayed."""
        return self.width, self.height

    def cell(self, index: int) -> Box:
        """Return the box of one cell in pixels of the image as displayed."""
        return cell_box(index, self.grid, self.size)


@dataclass(frozen=True, slots=True)
class TimeTokens:
    """Tokens of an audio or video stream, each with the seconds ``[start, end)`` it carries."""

    part: MediaPart
    modality: Modality
    positions: Sequence[int]
    intervals: Sequence[tuple[float, float]]
    duration: float
    frames: Sequence[tuple[int, ...]] | None = None


Geometry: TypeAlias = TextTokens | GridTokens | TimeTokens
"""Where the tokens of a part lie in it: in its text, on its image, or in time."""


@dataclass(frozen=True, slots=True)
class UnitDraft:
    """A source unit before it gets its id."""

    modality: Modality
    locator: Locator
    positions: tuple[int, ...]
    preview: str = ""
    source_id: str | None = None
    own_id: str | None = None
