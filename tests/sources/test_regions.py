"""Masks, boxes, outlines and pixels of regions say the same, and leave no gap between regions."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from omnitrace.sources.regions import (
    Box,
    Ring,
    boxes_of,
    cell_box,
    fills_its_hull,
    hull,
    outline,
    pixel_mask,
)
from omnitrace.sources.token_map import GridTokens, Overview
from omnitrace.sources.unitizers.image import Whole, image_units
from omnitrace.types import ImageRegion
from tests.helpers.random_geometries import media_part

QUICK = settings(max_examples=100, deadline=None)
CROSS = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


@st.composite
def labelled_images(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], np.ndarray]:
    """Draw a grid, the size of an image, and a random region for each cell."""
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    size = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    count = draw(st.integers(1, 6))
    cells = st.lists(st.integers(0, count - 1), min_size=rows * columns, max_size=rows * columns)
    return (rows, columns), size, np.array(draw(cells))


def regions(labels: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(labels == k).tolist() for k in np.unique(labels)]


def signed_area(ring: Ring) -> float:
    """Twice the area by the shoelace formula; positive if clockwise where y points down."""
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    return math.fsum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)


def inside(rings: tuple[Ring, ...], x: float, y: float) -> tuple[bool, bool]:
    """Say whether a point is filled: by even-odd crossings, and by winding number."""
    crossings = winding = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if x0 == x1 and x0 > x and min(y0, y1) < y < max(y0, y1):
                crossings += 1
                winding += 1 if y1 > y0 else -1
    return crossings % 2 == 1, winding != 0


@QUICK
@given(labelled_images())
def test_every_pixel_belongs_to_exactly_one_region(
    case: tuple[tuple[int, int], tuple[int, int], np.ndarray],
):
    grid, size, labels = case
    masks = [pixel_mask(cells, grid, size) for cells in regions(labels)]
    assert all(mask.shape == (size[1], size[0]) for mask in masks)
    assert (np.sum(masks, axis=0) == 1).all()


@QUICK
@given(labelled_images())
def test_outlines_enclose_the_cells_and_nothing_else(
    case: tuple[tuple[int, int], tuple[int, int], np.ndarray],
):
    grid, size, labels = case
    for cells in regions(labels):
        rings = outline(cells, grid, size)
        for cell in range(grid[0] * grid[1]):
            x0, y0, x1, y1 = cell_box(cell, grid, size)
            assert inside(rings, (x0 + x1) / 2, (y0 + y1) / 2) == (cell in cells,) * 2
        area = math.fsum(signed_area(ring) for ring in rings) / 2
        assert area == pytest.approx(len(cells) * size[0] * size[1] / (grid[0] * grid[1]))


@QUICK
@given(labelled_images())
def test_outlines_and_boxes_have_the_corners_of_cells(
    case: tuple[tuple[int, int], tuple[int, int], np.ndarray],
):
    grid, size, labels = case
    for cells in regions(labels):
        boxes = [cell_box(cell, grid, size) for cell in cells]
        corners = {(x, y) for x0, y0, x1, y1 in boxes for x in (x0, x1) for y in (y0, y1)}
        rings = outline(cells, grid, size)
        points = [point for ring in rings for point in ring]
        assert corners.issuperset(points)  # exactly, not to within rounding
        xs, ys = [x for x, _ in points], [y for _, y in points]
        assert hull(cells, grid, size) == (min(xs), min(ys), max(xs), max(ys))
        for ring in rings:
            assert ring[0] == min(ring, key=lambda point: point[::-1])
            following, second = ring[1:] + ring[:1], ring[2:] + ring[:2]
            for before, (x, y), after in zip(ring, following, second, strict=True):
                assert (before[0] == x) != (after[0] == x)  # it turns at every corner
                assert (before[1] == y) == (before[0] != x)


@QUICK
@given(labelled_images())
def test_outlines_of_neighbours_share_their_edges_and_cross_nowhere(
    case: tuple[tuple[int, int], tuple[int, int], np.ndarray],
):
    """Each inner edge that is drawn is walked once each way, the frame of the image once."""
    grid, size, labels = case
    (rows, columns), (width, height) = grid, size
    xs = {column * width / columns: column for column in range(columns + 1)}
    ys = {row * height / rows: row for row in range(rows + 1)}
    steps: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    for cells in regions(labels):
        for ring in outline(cells, grid, size):
            places = [(ys[y], xs[x]) for x, y in ring]
            for (r0, c0), (r1, c1) in zip(places, places[1:] + places[:1], strict=True):
                count = abs(r1 - r0) + abs(c1 - c0)
                line = [
                    (r0 + (r1 - r0) * i // count, c0 + (c1 - c0) * i // count)
                    for i in range(count + 1)
                ]
                steps.update(itertools.pairwise(line))
    assert set(steps.values()) == {1}
    for start, end in steps:
        on_frame = (start[0] == end[0] and start[0] in (0, rows)) or (
            start[1] == end[1] and start[1] in (0, columns)
        )
        assert ((end, start) in steps) != on_frame


@QUICK
@given(labelled_images())
def test_rings_are_the_pieces_and_holes_of_a_region(
    case: tuple[tuple[int, int], tuple[int, int], np.ndarray],
):
    """Compare with scipy: pieces joined by sides are outer rings, holes joined by corners inner."""
    grid, size, labels = case
    for cells in regions(labels):
        mask = np.zeros(grid, dtype=bool)
        mask.flat[cells] = True
        _, pieces = label(mask, CROSS)
        _, outside = label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))
        areas = [signed_area(ring) for ring in outline(cells, grid, size)]
        assert sum(area > 0 for area in areas) == pieces
        assert sum(area < 0 for area in areas) == outside - 1


def test_the_outline_of_a_ring_around_a_hole():
    cells = [c for c in range(9) if c != 4]
    assert outline(cells, (3, 3), (30, 60)) == (
        ((0, 0), (30, 0), (30, 60), (0, 60)),
        ((10, 20), (10, 40), (20, 40), (20, 20)),
    )


def test_cells_that_meet_at_a_corner_have_rings_of_their_own():
    assert outline([0, 3], (2, 2), (4, 4)) == (
        ((0, 0), (2, 0), (2, 2), (0, 2)),
        ((2, 2), (4, 2), (4, 4), (2, 4)),
    )
    assert outline([1, 2], (2, 2), (4, 4)) == (
        ((2, 0), (4, 0), (4, 2), (2, 2)),
        ((0, 2), (2, 2), (2, 4), (0, 4)),
    )
    assert outline([], (2, 2), (4, 4)) == ()


@pytest.mark.parametrize("size", [(84, 56), (85, 57), (30, 200)])
def test_pillow_fills_an_outline_with_the_pixels_of_the_mask(size: tuple[int, int]):
    """A renderer that knows nothing of us agrees, up to the pixels on the line."""
    grid, cells = (2, 3), [0, 1, 4, 5]
    canvas = PIL.Image.new("1", size, 0)
    for ring in outline(cells, grid, size):
        PIL.ImageDraw.Draw(canvas).polygon([tuple(point) for point in ring], fill=1)
    ours = pixel_mask(cells, grid, size)
    differ = ours != np.asarray(canvas)
    length = sum(
        math.dist(a, b)
        for ring in outline(cells, grid, size)
        for a, b in zip(ring, ring[1:] + ring[:1], strict=True)
    )
    assert differ.sum() <= 1.5 * length
    inner = ours & np.roll(ours, 2, 0) & np.roll(ours, -2, 0)
    inner &= np.roll(ours, 2, 1) & np.roll(ours, -2, 1)
    assert not (differ & inner).any()


@QUICK
@given(labelled_images())
def test_the_boxes_of_a_region_are_the_region(
    case: tuple[tuple[int, int], tuple[int, int], np.ndarray],
):
    grid, size, labels = case
    for cells in regions(labels):
        region = ImageRegion(0, 0, hull(cells, grid, size), grid, tuple(cells))
        boxes = boxes_of(region)
        area = math.fsum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes)
        assert area == pytest.approx(len(cells) * size[0] * size[1] / (grid[0] * grid[1]))
        assert (len(boxes) == 1 and boxes[0] == region.box) == fills_its_hull(cells, grid)
        if len(boxes) > 1:
            for box, cell in zip(boxes, cells, strict=True):
                assert box == pytest.approx(cell_box(cell, grid, size))


@st.composite
def canvases(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], Box, np.ndarray]:
    """Draw a grid over somewhat more or less than an image, and a random region for each cell."""
    grid, size, labels = draw(labelled_images())
    sides = []
    for count, length in zip(grid[::-1], size, strict=True):
        before, after = draw(st.floats(-0.4, 0.4)), draw(st.floats(-0.4, 0.4))
        cell = length / (count - before - after)
        sides.append((-before * cell, (count - before) * cell))
    (x0, x1), (y0, y1) = sides
    return grid, size, (x0, y0, x1, y1), labels


@QUICK
@given(canvases())
def test_regions_on_a_canvas_share_the_image_among_them(
    case: tuple[tuple[int, int], tuple[int, int], Box, np.ndarray],
):
    grid, size, canvas, labels = case
    tokens = GridTokens(media_part("image"), range(grid[0] * grid[1]), *grid, *size, canvas=canvas)
    masks, total = [], 0.0
    for cells in regions(labels):
        masks.append(pixel_mask(cells, grid, size, canvas))
        area = sum(signed_area(ring) for ring in outline(cells, grid, size, canvas)) / 2
        region = ImageRegion(
            0, 0, hull(cells, grid, size, canvas), grid, tuple(cells), canvas=canvas
        )
        boxes = boxes_of(region)
        assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) == pytest.approx(area)
        assert all(0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1] for x0, y0, x1, y1 in boxes)
        total += area
        for cell in cells:
            x0, y0, x1, y1 = tokens.cell(cell)
            assert tokens.cell_at((x0 + x1) / 2, (y0 + y1) / 2) == cell
    assert (np.sum(masks, axis=0) == 1).all()
    assert total == pytest.approx(size[0] * size[1])


def test_the_image_as_canvas_changes_nothing():
    grid, size = (3, 4), (100, 70)
    canvas = (0.0, 0.0, 100.0, 70.0)
    for cell in range(12):
        assert cell_box(cell, grid, size, canvas) == pytest.approx(cell_box(cell, grid, size))
        assert (pixel_mask([cell], grid, size, canvas) == pixel_mask([cell], grid, size)).all()


def test_padding_beside_the_image_is_of_the_nearest_cell():
    """An image of 30 by 20 pixels, padded to 40 by 40; the last cells end where it does."""
    view = Overview(range(4, 20), 4, 4, (0.0, 0.0, 40.0, 40.0))
    tokens = GridTokens(
        media_part("image"), range(4), 2, 2, 30, 20, [view], canvas=(0.0, 0.0, 40.0, 24.0)
    )
    assert [tokens.cell(cell) for cell in range(4)] == [
        (0, 0, 20, 12),
        (20, 0, 30, 12),
        (0, 12, 20, 20),
        (20, 12, 30, 20),
    ]
    assert view.cell(15) == (30, 30, 40, 40)
    assert tokens.cell_at(*view.middle(15)) == 3
    assert sorted(p for cell in tokens.cell_positions() for p in cell) == list(range(20))
    (region,) = image_units(tokens, Whole())
    assert region.locator.box == (0, 0, 30, 20)
    assert region.locator.canvas == tokens.canvas
