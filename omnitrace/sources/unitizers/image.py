"""Image units: the regions of a unitizer, or the user's own boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from omnitrace.errors import InputError
from omnitrace.sources.regions import hull
from omnitrace.sources.token_map import Box, GridTokens, UnitDraft, shared_area
from omnitrace.sources.unitizers.base import (
    FeatureSource,
    ImageUnitizer,
    check_count,
    checked_labels,
    no_features,
)
from omnitrace.sources.unitizers.user_defined import boxes, name_of
from omnitrace.types import ImageRegion

__all__ = ["Grid", "Whole", "grid_shape", "image_units"]

_REGIONS_ALONG_LONGER_SIDE = 4
_MOST_REGIONS_IN_A_ROW = 16
_SMALLEST_REGION = 2


def grid_shape(rows: int, columns: int, aspect: float) -> tuple[int, int]:
    """Return (region rows, region columns) for a grid of ``rows × columns`` vision tokens.

    Regions are about square: four along the longer side, none smaller than 2 × 2 tokens unless
    the image itself is. An image that is longer than that is a row of squares, at most 16.

    Parameters
    ----------
    rows, columns:
        Of the tokens; a model may squeeze any image into the same grid.
    aspect:
        Width over height of the image.
    """
    longer = max(aspect, 1 / aspect)
    if longer > _REGIONS_ALONG_LONGER_SIDE:
        along = columns if aspect > 1 else rows
        count = max(1, min(round(longer), _MOST_REGIONS_IN_A_ROW, along // _SMALLEST_REGION))
        return (1, count) if aspect > 1 else (count, 1)
    edge = max(_SMALLEST_REGION, math.ceil(max(rows, columns) / _REGIONS_ALONG_LONGER_SIDE))
    return max(1, rows // edge), max(1, columns // edge)


@dataclass(frozen=True)
class Grid(ImageUnitizer):
    """A grid of rectangular regions along the merged vision tokens.

    Parameters
    ----------
    rows, columns:
        Both, or neither: then about four square regions along the longer side, none smaller than
        2 × 2 tokens, and of a panorama up to 16 squares in a row; of a model that cuts images into
        slices, each slice. At most as many as there are rows and columns of tokens.
    """

    rows: int | None = None
    columns: int | None = None

    name: ClassVar[str] = "grid"

    def __post_init__(self) -> None:
        check_count(self.name, self.rows, "rows")
        check_count(self.name, self.columns, "columns")
        if (self.rows is None) != (self.columns is None):
            raise InputError(
                f"the unitizer 'grid' has rows {self.rows} and columns {self.columns}",
                legal="both, or neither",
            )

    def cut(self, tokens: GridTokens, features: FeatureSource) -> np.ndarray:
        """Return int ``[tokens]``: the grid cell that each merged vision token lies in."""
        wanted = tokens.grid
        if not tokens.further:
            wanted = grid_shape(tokens.rows, tokens.columns, tokens.width / tokens.height)
        if self.rows is not None and self.columns is not None:
            wanted = min(self.rows, tokens.rows), min(self.columns, tokens.columns)
        rows, columns = wanted
        down = np.arange(tokens.rows) * rows // tokens.rows
        across = np.arange(tokens.columns) * columns // tokens.columns
        labels: np.ndarray = (down[:, None] * columns + across[None, :]).reshape(-1)
        return labels


@dataclass(frozen=True)
class Whole(ImageUnitizer):
    """The whole image as one region."""

    name: ClassVar[str] = "whole"

    def cut(self, tokens: GridTokens, features: FeatureSource) -> np.ndarray:
        """Return zeros ``[tokens]``."""
        return np.zeros(tokens.rows * tokens.columns, dtype=np.int64)


def _user_cells(tokens: GridTokens, drawn: list[Box]) -> tuple[list[list[int]], list[int]]:
    """Give each vision token to the box that covers most of it; also return those in none."""
    regions: list[list[int]] = [[] for _ in drawn]
    rest: list[int] = []
    for cell in range(tokens.rows * tokens.columns):
        areas = [shared_area(tokens.cell(cell), box) for box in drawn]
        best = max(range(len(drawn)), key=areas.__getitem__)
        (regions[best] if areas[best] > 0 else rest).append(cell)
    return regions, rest


def image_units(
    tokens: GridTokens, unitizer: ImageUnitizer, features: FeatureSource = no_features
) -> list[UnitDraft]:
    """Cut an image into units; every vision token belongs to exactly one.

    With the user's own boxes, the tokens outside all boxes become one more unit, so that mass on
    the rest of the image is not lost. So do the tokens that look at the whole image, unless all of
    it is one unit anyway.

    Parameters
    ----------
    tokens:
        The image's merged vision tokens.
    unitizer:
        Cuts images without boxes of the user's own.
    features:
        Gives it the features of the tokens, if it asks.
    """
    if tokens.part.units:
        drafts = _user_units(tokens)
    else:
        count = tokens.rows * tokens.columns
        labels = checked_labels(unitizer, unitizer.cut(tokens, features), count)
        regions = [np.flatnonzero(labels == k).tolist() for k in range(labels.max() + 1)]
        drafts = [_draft(tokens, cells) for cells in regions]
    if not tokens.everywhere:
        return drafts
    if len(drafts) == 1:
        return [replace(drafts[0], positions=tuple(tokens.all_positions()))]
    image = _draft(tokens, list(range(tokens.rows * tokens.columns)))
    return [replace(image, positions=tuple(tokens.everywhere)), *drafts]


def _draft(
    tokens: GridTokens, cells: list[int], box: Box | None = None, own_id: str | None = None
) -> UnitDraft:
    """Return the unit of some cells."""
    part, showing = tokens.part, tokens.cell_positions()
    box = box or hull(cells, tokens.grid, tokens.size, tokens.canvas)
    region = ImageRegion(
        part.message, part.part, box, tokens.grid, tuple(cells), canvas=tokens.canvas
    )
    return UnitDraft(
        modality="image",
        locator=region,
        positions=tuple(sorted(position for cell in cells for position in showing[cell])),
        source_id=part.source_id,
        own_id=own_id,
    )


def _user_units(tokens: GridTokens) -> list[UnitDraft]:
    """Return the units of the user's own boxes, and that of the cells outside of all."""
    part = tokens.part
    drawn = boxes(part, tokens.width, tokens.height)
    regions, rest = _user_cells(tokens, [box for box, _ in drawn])
    for (box, _), cells in zip(drawn, regions, strict=True):
        if not cells:
            x0, y0, x1, y1 = tokens.cell(0)
            raise InputError(
                f"{name_of(part)} has the box {list(box)}, which shares its vision tokens with "
                "another box that covers more of them",
                legal=f"boxes at least one token ({x1 - x0:g} by {y1 - y0:g} pixels) apart",
            )
    own = [
        _draft(tokens, cells, box, own_id)
        for (box, own_id), cells in zip(drawn, regions, strict=True)
    ]
    return own + ([_draft(tokens, rest)] if rest else [])
