"""The geometry of image regions: from the mask of merged vision tokens to boxes, rings, pixels.

The model sees an image as ``rows × columns`` tokens; token (row, column) covers that fraction of
the image as displayed, or of a canvas ``(x0, y0, x1, y1)`` in its pixels on which the image lies: a
processor pads it to whole tokens, and cuts padding off by whole tokens. A region is a set of these
cells. Everything here follows from the cells, the grid, the canvas and the image's ``(width,
height)`` alone, and uses one rule for where a cell begins, so that boxes, outlines and pixels of
neighbours fit together without gaps. The outermost cells reach the edge of the image, no farther.
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


def edge(index: int, count: int, length: float, along: tuple[float, float] | None = None) -> float:
    """Return where cell ``index`` of ``count`` begins along a side of ``length`` pixels.

    ``along`` is where the canvas begins and ends along this side, where it is not the image.
    """
    if along is None or index in (0, count):
        return index * length / count
    start, end = along
    return min(max(start + index * (end - start) / count, 0.0), length)


def _sides(canvas: Box | None) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return where a canvas begins and ends across and down."""
    return (None, None) if canvas is None else ((canvas[0], canvas[2]), (canvas[1], canvas[3]))


def cell_box(cell: int, grid: Grid, size: Size, canvas: Box | None = None) -> Box:
    """Return the box of one cell in pixels of the image as displayed."""
    return hull((cell,), grid, size, canvas)


def _span(cells: Iterable[int], columns: int) -> tuple[int, int, int, int]:
    """Return first row, first column, and the row and the column behind the last."""
    places = [divmod(cell, columns) for cell in cells]
    rows, across = [row for row, _ in places], [column for _, column in places]
    return min(rows), min(across), max(rows) + 1, max(across) + 1


def hull(cells: Iterable[int], grid: Grid, size: Size, canvas: Box | None = None) -> Box:
    """Return the smallest box ``(x0, y0, x1, y1)`` around some cells, in pixels.

    Parameters
    ----------
    cells:
        Row-major indices, at least one.
    grid:
        ``(rows, columns)`` of the merged vision tokens.
    size:
        ``(width, height)`` of the image as displayed.
    canvas:
        What the grid covers, where that is not the image.
    """
    rows, columns = grid
    width, height = size
    across, down = _sides(canvas)
    top, left, bottom, right = _span(cells, columns)
    return (
        edge(left, columns, width, across),
        edge(top, rows, height, down),
        edge(right, columns, width, across),
        edge(bottom, rows, height, down),
    )


def fills_its_hull(cells: Sequence[int], grid: Grid) -> bool:
    """Say whether the cells are a full rectangle of the grid."""
    top, left, bottom, right = _span(cells, grid[1])
    return len(set(cells)) == (bottom - top) * (right - left)


def outline(
    cells: Iterable[int], grid: Grid, size: Size, canvas: Box | None = None
) -> tuple[Ring, ...]:
    """Return the closed rings around some cells, in pixels of the image as displayed.

    Parameters
    ----------
    cells:
        Row-major indices.
    grid:
        ``(rows, columns)`` of the merged vision tokens.
    size:
        ``(width, height)`` of the image as displayed.
    canvas:
        What the grid covers, where that is not the image.

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
    across, down = _sides(canvas)
    return tuple(
        tuple(
            (edge(column, columns, width, across), edge(row, rows, height, down))
            for row, column in ring
        )
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


def pixel_mask(
    cells: Iterable[int], grid: Grid, size: tuple[int, int], canvas: Box | None = None
) -> np.ndarray:
    """Return bool ``[height, width]``: the pixels whose centre lies in one of the cells.

    Every pixel has its centre in exactly one cell, so regions that share the cells of an image
    among them share its pixels among them, too.
    """
    rows, columns = grid
    width, height = size
    mask = np.zeros(rows * columns, dtype=bool)
    mask[list(cells)] = True
    sides = _sides(canvas)
    across, down = _cells_along(columns, width, sides[0]), _cells_along(rows, height, sides[1])
    pixels: np.ndarray = mask.reshape(rows, columns)[down[:, None], across[None, :]]
    return pixels


def _cells_along(count: int, length: int, along: tuple[float, float] | None) -> np.ndarray:
    """Return the cell in which each pixel of a side has its centre."""
    if along is None:
        # In whole numbers: floor((i + 1/2) · count / length), which no rounding can move.
        return (2 * np.arange(length, dtype=np.int64) + 1) * count // (2 * length)
    begins = [edge(index, count, length, along) for index in range(count)]
    return np.searchsorted(begins, np.arange(length) + 0.5, side="right") - 1


def boxes_of(region: ImageRegion) -> list[Box]:
    """Return boxes that together are the region: its box, or its cells where they do not fill it.

    The box is the hull of the cells, so its place in the grid gives the size of a cell, without the
    size of the image; on a canvas, it is where the image ends.
    """
    columns = region.grid[1]
    if not region.cells or fills_its_hull(region.cells, region.grid):
        return [region.box]
    x0, y0, x1, y1 = region.box
    if region.canvas is not None:
        return [_on_canvas(cell, region, region.canvas) for cell in region.cells]
    top, left, bottom, right = _span(region.cells, columns)
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


def _on_canvas(cell: int, region: ImageRegion, canvas: Box) -> Box:
    """Return the part of a cell that lies in the box of its region."""
    left, top, right, bottom = cell_box(cell, region.grid, region.box[2:], canvas)
    return max(left, region.box[0]), max(top, region.box[1]), right, bottom
