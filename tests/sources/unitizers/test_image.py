"""Image units: regions that tile the image, and the user's boxes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.sources.layout import build_layout
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import GridTokens, UnitDraft
from omnitrace.sources.unitizers.image import Grid, Whole, grid_shape, image_units
from omnitrace.types import ImageRegion, PositionKind
from tests.helpers.random_geometries import grid_tokens, media_part

QUICK = settings(max_examples=80, deadline=None)
Box = tuple[float, float, float, float]
KEYS = ("x0", "y0", "x1", "y1")


def region(draft: UnitDraft) -> ImageRegion:
    assert isinstance(draft.locator, ImageRegion)
    return draft.locator


def area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def common(a: Box, b: Box) -> float:
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


@given(st.integers(1, 400), st.integers(1, 400))
def test_the_grid_is_four_regions_along_the_longer_side(rows: int, columns: int):
    along_rows, along_columns = grid_shape(rows, columns, columns / rows)
    assert 1 <= along_rows <= max(1, rows // 2)
    assert 1 <= along_columns <= max(1, columns // 2)
    longer, regions = max((rows, along_rows), (columns, along_columns))
    if longer > 4 * min(rows, columns):
        assert min(along_rows, along_columns) == 1
        return
    assert regions <= 4
    if longer >= 12:
        assert regions >= 3
    if along_rows > 1 and along_columns > 1:  # about square
        assert 0.4 < (rows / along_rows) / (columns / along_columns) < 2.5


@pytest.mark.parametrize(
    ("size", "tokens", "regions"),
    [
        ((12_000, 800), (28, 428), 15),
        ((12_000, 800), (2, 31), 15),
        ((12_000, 800), (16, 16), 8),  # squeezed into a square
        ((12_000, 800), (24, 24), 12),
        ((4_100, 1_000), (9, 37), 4),
        ((20_000, 100), (1, 256), 16),
        ((20_000, 100), (1, 3), 1),
    ],
)
def test_a_panorama_is_a_row_of_squares(
    size: tuple[int, int], tokens: tuple[int, int], regions: int
):
    assert grid_shape(*tokens, size[0] / size[1]) == (1, regions)
    assert grid_shape(*tokens[::-1], size[1] / size[0]) == (regions, 1)
    rows, columns = tokens
    grid = GridTokens(media_part("image"), range(rows * columns), rows, columns, *size)
    boxes = [region(draft).box for draft in image_units(grid, Grid())]
    assert len(boxes) == regions
    assert boxes[0][1] == 0
    assert boxes[0][3] == size[1]


@given(st.integers(1, 60), st.integers(1, 60))
def test_no_region_is_smaller_than_two_by_two_tokens(rows: int, columns: int):
    tokens = GridTokens(media_part("image"), range(rows * columns), rows, columns, 100, 100)
    for draft in image_units(tokens, Grid()):
        cells = region(draft).cells
        assert len({cell // columns for cell in cells}) >= min(2, rows)
        assert len({cell % columns for cell in cells}) >= min(2, columns)


@QUICK
@given(
    grid_tokens(),
    st.one_of(
        st.just(SourceOptions()),
        st.just(SourceOptions(image="whole")),
        st.tuples(st.integers(1, 15), st.integers(1, 15)).map(
            lambda grid: SourceOptions(image_grid=grid)
        ),
    ),
)
def test_regions_tile_the_image_and_share_no_token(tokens: GridTokens, options: SourceOptions):
    drafts = image_units(tokens, options.image_unitizer)
    owned = [position for draft in drafts for position in draft.positions]
    assert sorted(owned) == list(tokens.positions)
    assert all(list(d.positions) == sorted(d.positions) for d in drafts)
    size = tokens.width * tokens.height
    assert math.fsum(area(region(d).box) for d in drafts) == pytest.approx(size)
    for i, draft in enumerate(drafts):
        found = region(draft)
        x0, y0, x1, y1 = found.box
        assert 0 <= x0 < x1 <= tokens.width * (1 + 1e-12)
        assert 0 <= y0 < y1 <= tokens.height * (1 + 1e-12)
        assert found.grid == (tokens.rows, tokens.columns)
        assert [tokens.positions[cell] for cell in found.cells] == list(draft.positions)
        # The box is the exact hull: as large as its cells together, and holding each.
        assert area(found.box) == pytest.approx(sum(area(tokens.cell(c)) for c in found.cells))
        for cell in found.cells:
            assert common(found.box, tokens.cell(cell)) == pytest.approx(area(tokens.cell(cell)))
        for other in drafts[i + 1 :]:
            assert common(found.box, region(other).box) < 1e-9 * size
    if options.image == "whole":
        assert len(drafts) == 1
        assert region(drafts[0]).box == (0, 0, tokens.width, tokens.height)
    elif options.image_grid:
        assert len(drafts) == min(options.image_grid[0], tokens.rows) * min(
            options.image_grid[1], tokens.columns
        )


@given(grid_tokens())
def test_cells_tile_the_image_row_by_row(tokens: GridTokens):
    cells = [tokens.cell(i) for i in range(tokens.rows * tokens.columns)]
    assert math.fsum(map(area, cells)) == pytest.approx(tokens.width * tokens.height)
    assert cells[0][:2] == (0, 0)
    assert cells[-1][2:] == (tokens.width, tokens.height)
    for i, (x0, y0, _, _) in enumerate(cells):
        if i % tokens.columns:
            assert x0 == cells[i - 1][2]
        if i >= tokens.columns:
            assert y0 == cells[i - tokens.columns][3]


@st.composite
def drawn_boxes(draw: st.DrawFn) -> tuple[GridTokens, list[Box], list[Any]]:
    tokens = draw(grid_tokens())

    def side(limit: int) -> tuple[float, float]:
        edges = st.integers(0, limit) | st.floats(0, limit)
        pair = st.tuples(edges, edges).map(sorted).filter(lambda p: p[1] - p[0] > 1e-6)
        return draw(pair)  # type: ignore[return-value]

    boxes: list[Box] = []
    for _ in range(draw(st.integers(1, 4))):
        (x0, x1), (y0, y1) = side(tokens.width), side(tokens.height)
        boxes.append((x0, y0, x1, y1))
    forms: list[Any] = [
        draw(st.sampled_from([list(b), {"box": list(b), "id": i}, dict(zip(KEYS, b, strict=True))]))
        for i, b in enumerate(boxes)
    ]
    return tokens, boxes, forms


@QUICK
@given(drawn_boxes())
def test_own_boxes_come_back_with_the_tokens_they_cover_most(
    case: tuple[GridTokens, list[Box], list[Any]],
):
    tokens, boxes, forms = case
    tokens = dataclasses.replace(tokens, part=media_part("image", forms))
    expected: list[list[int]] = [[] for _ in boxes]
    rest = []
    for cell in range(tokens.rows * tokens.columns):
        covered = [common(tokens.cell(cell), box) for box in boxes]
        if max(covered) > 0:
            expected[covered.index(max(covered))].append(cell)
        else:
            rest.append(cell)
    if not all(expected):
        with pytest.raises(InputError, match="shares its vision tokens"):
            image_units(tokens, Grid())
        return
    drafts = image_units(tokens, Grid())
    assert [region(d).box for d in drafts[: len(boxes)]] == boxes
    assert [list(region(d).cells) for d in drafts] == expected + ([rest] if rest else [])
    owned = sorted(position for draft in drafts for position in draft.positions)
    assert owned == list(tokens.positions)
    for draft in drafts:
        assert [tokens.positions[c] for c in region(draft).cells] == list(draft.positions)


def test_a_box_around_the_whole_image_is_the_whole_image():
    tokens = GridTokens(media_part("image", [[0, 0, 40, 30]]), range(5, 17), 3, 4, 40, 30)
    (draft,) = image_units(tokens, Grid())
    assert draft.positions == tuple(range(5, 17))


def sliced(part: Any = None, rows: int = 2, columns: int = 3) -> GridTokens:
    """Slices with three tokens each, behind two that look at the whole image."""
    cells = rows * columns
    return GridTokens(
        part or media_part("image"),
        [2 + 3 * cell for cell in range(cells)],
        rows,
        columns,
        300,
        200,
        further=[[3 + 3 * cell, 4 + 3 * cell] for cell in range(cells)],
        everywhere=[0, 1],
    )


def test_each_slice_is_a_unit_and_so_is_the_overview():
    overview, *slices = image_units(sliced(), Grid())
    assert overview.positions == (0, 1)
    assert region(overview).box == (0, 0, 300, 200)
    assert [draft.positions for draft in slices] == [(i, i + 1, i + 2) for i in range(2, 20, 3)]
    assert region(slices[4]).box == (100, 100, 200, 200)


def test_the_whole_image_has_the_overview_with_it():
    (whole,) = image_units(sliced(), Whole())
    assert whole.positions == tuple(range(20))
    assert region(whole).box == (0, 0, 300, 200)


def test_the_users_boxes_take_slices_and_leave_the_overview_alone():
    part = dataclasses.replace(
        media_part("image"), units=({"x0": 0, "y0": 0, "x1": 100, "y1": 200, "id": "left"},)
    )
    overview, left, rest = image_units(sliced(part), Grid())
    assert overview.own_id is None
    assert overview.positions == (0, 1)
    assert left.own_id == "left"
    assert left.positions == (2, 3, 4, 11, 12, 13)
    assert sorted((*left.positions, *rest.positions)) == list(range(2, 20))


def test_every_token_of_an_image_that_is_no_source_is_instruction():
    part = dataclasses.replace(media_part("image"), is_source=False)
    layout = build_layout(21, [sliced(part)], SourceOptions())
    assert layout.kinds.tolist() == [PositionKind.INSTRUCTION] * 20 + [PositionKind.TEMPLATE]
