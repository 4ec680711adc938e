"""Image units: a grid of regions, the whole image, or the user's own boxes."""

from __future__ import annotations

import math

from omnitrace.errors import InputError
from omnitrace.sources.geometry import Box, GridTokens, UnitDraft, shared_area
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.userunits import boxes, name_of
from omnitrace.types import ImageRegion

__all__ = ["grid_shape", "image_units"]

_REGIONS_ALONG_LONGER_SIDE = 4
_SMALLEST_REGION = 2


def grid_shape(rows: int, columns: int) -> tuple[int, int]:
    """Return (region rows, region columns) for a grid of ``rows × columns`` vision tokens.

    Regions are about square: four along the longer side, none smaller than 2 × 2 tokens unless
    the image itself is.
    """
    edge = max(_SMALLEST_REGION, math.ceil(max(rows, columns) / _REGIONS_ALONG_LONGER_SIDE))
    return max(1, rows // edge), max(1, columns // edge)


def _hull(tokens: GridTokens, cells: list[int]) -> Box:
    corners = [tokens.cell(cell) for cell in cells]
    return (
        min(c[0] for c in corners),
        min(c[1] for c in corners),
        max(c[2] for c in corners),
        max(c[3] for c in corners),
    )


def _grid_cells(tokens: GridTokens, options: SourceOptions) -> list[list[int]]:
    if options.image == "whole":
        return [list(range(tokens.rows * tokens.columns))]
    wanted = options.image_grid or grid_shape(tokens.rows, tokens.columns)
    rows, columns = min(wanted[0], tokens.rows), min(wanted[1], tokens.columns)
    regions: list[list[int]] = [[] for _ in range(rows * columns)]
    for cell in range(tokens.rows * tokens.columns):
        row, column = divmod(cell, tokens.columns)
        region = (row * rows // tokens.rows) * columns + column * columns // tokens.columns
        regions[region].append(cell)
    return regions


def _user_cells(tokens: GridTokens, drawn: list[Box]) -> tuple[list[list[int]], list[int]]:
    """Give each vision token to the box that covers most of it; also return those in none."""
    regions: list[list[int]] = [[] for _ in drawn]
    rest: list[int] = []
    for cell in range(tokens.rows * tokens.columns):
        areas = [shared_area(tokens.cell(cell), box) for box in drawn]
        best = max(range(len(drawn)), key=areas.__getitem__)
        (regions[best] if areas[best] > 0 else rest).append(cell)
    return regions, rest


def image_units(tokens: GridTokens, options: SourceOptions) -> list[UnitDraft]:
    """Cut an image into units; every vision token belongs to exactly one.

    With the user's own boxes, the tokens outside all boxes become one more unit, so that mass on
    the rest of the image is not lost.
    """
    part = tokens.part
    grid = (tokens.rows, tokens.columns)

    def draft(cells: list[int], box: Box, own_id: str | None = None) -> UnitDraft:
        return UnitDraft(
            modality="image",
            locator=ImageRegion(part.message, part.part, box, grid, tuple(cells)),
            positions=tuple(sorted(tokens.positions[cell] for cell in cells)),
            source_id=part.source_id,
            own_id=own_id,
        )

    if not part.units:
        return [draft(cells, _hull(tokens, cells)) for cells in _grid_cells(tokens, options)]
    drawn = boxes(part, tokens.width, tokens.height)
    regions, rest = _user_cells(tokens, [box for box, _ in drawn])
    drafts = []
    for (box, own_id), cells in zip(drawn, regions, strict=True):
        if not cells:
            x0, y0, x1, y1 = tokens.cell(0)
            raise InputError(
                f"{name_of(part)} has the box {list(box)}, which shares its vision tokens with "
                "another box that covers more of them",
                legal=f"boxes at least one token ({x1 - x0:g} by {y1 - y0:g} pixels) apart",
            )
        drafts.append(draft(cells, box, own_id))
    if rest:
        drafts.append(draft(rest, _hull(tokens, rest)))
    return drafts
