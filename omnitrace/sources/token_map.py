"""Where the tokens of each part lie in the user's own coordinates.

A model adapter describes every part of a request by one of these; everything that turns positions
into units works on them alone and knows no model.
"""

from __future__ import annotations

import math
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
    "Overview",
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


def _nearest(share: float, count: int) -> int:
    """Return which of so many equal stretches holds a point, or is nearest to it."""
    return min(max(math.floor(share * count), 0), count - 1)


@dataclass(frozen=True, slots=True)
class TextTokens:
    """Tokens of a text part: prompt ``positions`` and their character ranges in the part."""

    part: TextPart
    positions: Sequence[int]
    ranges: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Overview:
    """Tokens that show a part of the same image again: a thumbnail, a global tile, or a crop.

    Row-major ``positions`` of a ``rows × columns`` grid over ``box``, in pixels of the image as
    displayed.
    """

    positions: Sequence[int]
    rows: int
    columns: int
    box: Box

    def cell(self, index: int) -> Box:
        """Return the box of one token in pixels of the image; where it shows padding, beyond it."""
        row, column = divmod(index, self.columns)
        x0, y0, x1, y1 = self.box
        wide, high = (x1 - x0) / self.columns, (y1 - y0) / self.rows
        left, top = x0 + column * wide, y0 + row * high
        return left, top, left + wide, top + high

    def middle(self, index: int) -> tuple[float, float]:
        """Return ``(x, y)`` of the middle of one token, in pixels of the image."""
        x0, y0, x1, y1 = self.cell(index)
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True, slots=True)
class GridTokens:
    """Merged vision tokens of an image: row-major ``positions`` of a ``rows × columns`` grid.

    The grid covers the image, or ``canvas``: a box in its pixels, larger where the processor pads.
    Every cell shows something of the image, and its box ends where that does.

    Each token of ``overviews`` goes with the cell that its middle lies in, or is nearest to. For a
    tower that looks around puts something of the image into tokens of the padding, too: an image
    that is hidden must take them along.

    A model whose queries each look at a whole slice of the image has tokens without a place in it.
    A cell is then a slice: ``further`` has for each the other tokens that look at it, and no cell
    is joined with another unasked. Tokens that look at the whole image in this way are
    ``everywhere``: a unit of their own, beside those of the slices.
    """

    part: MediaPart
    positions: Sequence[int]
    rows: int
    columns: int
    width: int
    height: int
    overviews: Sequence[Overview] = ()
    further: Sequence[Sequence[int]] = ()
    everywhere: Sequence[int] = ()
    canvas: Box | None = None

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
        return cell_box(index, self.grid, self.size, self.canvas)

    def cell_at(self, x: float, y: float) -> int:
        """Return the cell that holds a point, or is nearest to it."""
        x0, y0, x1, y1 = self.canvas or (0.0, 0.0, self.width, self.height)
        row = _nearest((y - y0) / (y1 - y0), self.rows)
        return row * self.columns + _nearest((x - x0) / (x1 - x0), self.columns)

    def cell_positions(self) -> list[list[int]]:
        """Return the prompt positions that show each cell, those of overviews with them."""
        showing = [[position] for position in self.positions]
        for cell, more in enumerate(self.further):
            showing[cell] += more
        for view in self.overviews:
            for index, position in enumerate(view.positions):
                showing[self.cell_at(*view.middle(index))].append(position)
        return showing

    def all_positions(self) -> list[int]:
        """Return every prompt position that shows something of the image."""
        return sorted([*(p for cell in self.cell_positions() for p in cell), *self.everywhere])


@dataclass(frozen=True, slots=True)
class TimeTokens:
    """Tokens of an audio or video stream, each with the seconds ``[start, end)`` it carries.

    All seconds are those of the original; at ``duration`` that ends which was given to the model.
    """

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
    transcript: str | None = None
    speaker: str | None = None
