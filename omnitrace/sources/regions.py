"""The geometry of image regions: from the mask of merged vision tokens to boxes, rings, pixels.

The model sees an image as ``rows × columns`` tokens; token (row, column) covers that fraction of
the image as displayed. A region is a set of these cells. Everything here follows from the cells,
the grid and the image's ``(width, height)`` alone, and uses one rule for where a cell begins, so
that boxes, outlines and pixels of neighbours fit together without gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from omnitrace.types import ImageRegion

__all__ = [
    "Box",
    "Grid",
    "Ring",
    "Size",
    "boxes_of",
    "cell_box",
    "edge",
    "fills_its_hull",
    "hull",
    "outline",
    "pixel_mask",
]

Box: TypeAlias = tuple[float, float, float, float]
Grid: TypeAlias = tuple[int, int]
Size: TypeAlias = tuple[float, float]
Ring: TypeAlias = tuple[tuple[float, float], ...]

# The way round a cell with the cell on the right hand: right, down, left, up in (row, column).
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def edge(index: int, count: int, length: float) -> float:
    """Return where cell ``index`` of ``count`` begins along a side of ``length`` pixels."""
    return index * length / count


def cell_box(cell: int, grid: Grid, size: Size) -> Box:
    """Return the box of one cell in pixels of the image as displayed."""
    return hull((cell,), grid, size)


def _span(cells: Iterable[int], columns: int) -> tuple[int, int, int, int]:
    """Return first row, first column, and the row and the column behind the last."""
    places = [divmod(cell, columns) for cell in cells]
    rows, across = [row for row, _ in places], [column for _, column in places]
    return min(rows), min(across), max(rows) + 1, max(across) + 1


def hull(cells: Iterable[int], grid: Grid, size: Size) -> Box:
    """Return the smallest box ``(x0, y0, x1, y1)`` around some cells, in pixels.

    Parameters
    ----------
    cells:
        Row-major indices, at least one.
    grid:
        ``(rows, columns)`` of the merged vision tokens.
    size:
        ``(width, height)`` of the image as displayed.
    """
    rows, columns = grid
    width, height = size
    top, left, bottom, right = _span(cells, columns)
    return (
        edge(left, columns, width),
        edge(top, rows, height),
        edge(right, columns, width),
        edge(bottom, rows, height),
    )


def fills_its_hull(cells: Sequence[int], grid: Grid) -> bool:
    """Say whether the cells are a full rectangle of the grid."""
    top, left, bottom, right = _span(cells, grid[1])
    return len(set(cells)) == (bottom - top) * (right - left)


def outline(cells: Iterable[int], grid: Grid, size: Size) -> tuple[Ring, ...]:
    """Return the closed rings around some cells, in pixels of the image as displayed.

    Parameters
    ----------
    cells:
        Row-major indices.
    grid:
        ``(rows, columns)`` of the merged vision tokens.
    size:
        ``(width, height)`` of the image as displayed.

    Returns
    -------
    tuple[Ring, ...]
        Corners ``(x, y)``, of each ring once, from its topmost leftmost one. Outer rings run
        clockwise on the screen and holes the other way, so that either of SVG's rules fills them
        rightly. Cells that meet at a corner only are not joined there. No edge is in two rings;
        together the rings enclose the cells and nothing else.
    """
    rows, columns = grid
    width, height = size
    return tuple(
        tuple((edge(column, columns, width), edge(row, rows, height)) for row, column in ring)
        for ring in _rings(_border(frozenset(cells), columns))
    )


_Corner: TypeAlias = tuple[int, int]


def _border(cells: frozenset[int], columns: int) -> dict[_Corner, set[int]]:
    """Return the steps that leave each corner along the border, the region on the right hand."""
    border: dict[_Corner, set[int]] = {}
    for cell in cells:
        row, column = divmod(cell, columns)
        free = (
            cell - columns not in cells,
            column + 1 == columns or cell + 1 not in cells,
            cell + columns not in cells,
            column == 0 or cell - 1 not in cells,
        )
        corners = ((row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column))
        for step, corner in enumerate(corners):
            if free[step]:
                border.setdefault(corner, set()).add(step)
    return border


def _rings(border: dict[_Corner, set[int]]) -> list[list[_Corner]]:
    """Walk along the border until all of it is walked; keep the corners where it turns."""
    unwalked = {(corner, step) for corner, steps in border.items() for step in steps}
    rings = []
    # The topmost leftmost corner of what is left is always one where its ring turns.
    for first in sorted(unwalked):
        if first not in unwalked:
            continue
        ring = []
        corner, step = first
        came = -1
        while (corner, step) in unwalked:
            unwalked.remove((corner, step))
            if step != came:
                ring.append(corner)
            corner = (corner[0] + _STEPS[step][0], corner[1] + _STEPS[step][1])
            # Where two cells meet at a corner, the turn to the right stays with the same cell.
            came = step
            turns = ((step + 1) % 4, step, (step + 3) % 4)
            step = next(turn for turn in turns if turn in border[corner])
        rings.append(ring)
    return rings


def pixel_mask(cells: Iterable[int], grid: Grid, size: tuple[int, int]) -> np.ndarray:
    """Return bool ``[height, width]``: the pixels whose centre lies in one of the cells.

    Every pixel has its centre in exactly one cell, so regions that share the cells of an image
    among them share its pixels among them, too.
    """
    rows, columns = grid
    width, height = size
    mask = np.zeros(rows * columns, dtype=bool)
    mask[list(cells)] = True
    down, across = _cells_along(rows, height), _cells_along(columns, width)
    pixels: np.ndarray = mask.reshape(rows, columns)[down[:, None], across[None, :]]
    return pixels


def _cells_along(count: int, length: int) -> np.ndarray:
    """Return the cell in which each pixel of a side has its centre."""
    # In whole numbers: floor((i + 1/2) · count / length), which no rounding can move.
    return (2 * np.arange(length, dtype=np.int64) + 1) * count // (2 * length)


def boxes_of(region: ImageRegion) -> list[Box]:
    """Return boxes that together are the region: its box, or its cells where they do not fill it.

    The box is the hull of the cells, so its place in the grid gives the size of a cell, without the
    size of the image.
    """
    columns = region.grid[1]
    if not region.cells or fills_its_hull(region.cells, region.grid):
        return [region.box]
    top, left, bottom, right = _span(region.cells, columns)
    x0, y0, x1, y1 = region.box
    dx, dy = (x1 - x0) / (right - left), (y1 - y0) / (bottom - top)
    return [
        (
            x0 + (column - left) * dx,
            y0 + (row - top) * dy,
            x0 + (column - left + 1) * dx,
            y0 + (row - top + 1) * dy,
        )
        for row, column in (divmod(cell, columns) for cell in region.cells)
    ]
