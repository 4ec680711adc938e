"""Where the tokens of an image lie: one rule for each way in which processors cut images.

Every rule counts its tokens and refuses a prompt that has another number of them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

from omnitrace.models.places.base import Medium, expect, image_grid, runs, tiled, whole
from omnitrace.sources.token_map import GridTokens, Overview

__all__ = [
    "base_and_rows",
    "grid",
    "marked_tiles",
    "overview_and_slices",
    "pooled",
    "rows_with_breaks",
    "square",
    "tiles_and_thumbnail",
]


def grid(medium: Medium) -> GridTokens:
    """Resized without cropping; ``image_grid_thw`` counts patches, merged in squares."""
    merge = medium.processor.image_processor.merge_size
    _, height, width = medium.sizes("image_grid_thw")
    return image_grid(medium, height // merge, width // merge)


def square(medium: Medium) -> GridTokens:
    """Squeezed into a square, whatever its shape; then crops of a wide or high image, finer."""
    tokens = _tokens_an_image(medium.processor)
    side = math.isqrt(tokens)
    crops = _crops(medium) if len(medium.positions) > tokens else []
    expect(medium, tokens * (1 + len(crops)))
    views = [
        Overview(list(medium.positions[start : start + tokens]), side, side, box)
        for start, box in zip(itertools.count(tokens, tokens), crops, strict=False)
    ]
    return image_grid(medium, side, side, medium.positions[:tokens], views)


def _tokens_an_image(processor: Any) -> int:
    return int(getattr(processor, "image_seq_length", 0) or processor.image_seq_len)


def _crops(medium: Medium) -> list[tuple[float, float, float, float]]:
    """Return the boxes of Gemma 3's crops ("pan and scan"), side by side along the long side."""
    count = len(medium.positions) // _tokens_an_image(medium.processor) - 1
    width, height = medium.image.width, medium.image.height
    across, down = (count, 1) if width >= height else (1, count)
    wide, high = math.ceil(width / across), math.ceil(height / down)
    return [
        (x * wide, y * high, min(width, (x + 1) * wide), min(height, (y + 1) * high))
        for y in range(down)
        for x in range(across)
    ]


def pooled(medium: Medium) -> GridTokens:
    """Patches with positions of their own, pooled in squares (Gemma 4)."""
    kernel = medium.processor.image_processor.pooling_kernel_size
    last = medium.inputs["image_position_ids"][medium.index].max(dim=0).values
    columns, rows = ((int(each) + 1) // kernel for each in last)
    return image_grid(medium, rows, columns)


def tiles_and_thumbnail(medium: Medium) -> GridTokens:
    """Stretched onto tiles, one after another; then all of it once more, small (InternVL)."""
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    cutter = medium.processor.image_processor
    tokens = _tokens_an_image(medium.processor)
    side = math.isqrt(tokens)
    columns, rows = 1, 1
    if len(medium.positions) > tokens:
        columns, rows = get_optimal_tiled_canvas(
            (medium.image.height, medium.image.width),
            (cutter.size["height"], cutter.size["width"]),
            cutter.min_patches,
            cutter.max_patches,
        )
    tiles = rows * columns
    thumbnails = int(tiles > 1)
    expect(medium, tokens * (tiles + thumbnails))
    fine = tiled(medium.positions[: tokens * tiles], (rows, columns), (side, side))
    small = [whole(medium, medium.positions[tokens * tiles :], side, side)] * thumbnails
    return image_grid(medium, rows * side, columns * side, fine, small)


def marked_tiles(medium: Medium) -> GridTokens:
    """Stretched onto tiles that markers name; then all of it once more (Idefics3, SmolVLM)."""
    tokens = _tokens_an_image(medium.processor)
    side = math.isqrt(tokens)
    named = re.findall(r"<row_(\d+)_col_(\d+)>", medium.text)
    rows = max((int(row) for row, _ in named), default=0)
    columns = max((int(column) for _, column in named), default=0)
    expect(medium, tokens * (rows * columns + 1))
    if not named:
        return image_grid(medium, side, side)
    fine = tiled(medium.positions[:-tokens], (rows, columns), (side, side))
    view = whole(medium, medium.positions[-tokens:], side, side)
    return image_grid(medium, rows * side, columns * side, fine, [view])


def rows_with_breaks(medium: Medium) -> GridTokens:
    """Resized without cropping; a marker after every row (Pixtral, Mistral 3)."""
    step = medium.processor.patch_size * medium.processor.spatial_merge_size
    height, width = medium.sizes("image_sizes")
    return image_grid(medium, height // step, width // step)


def base_and_rows(medium: Medium) -> GridTokens:
    """All of it, small; then rows of a finer grid, each with one more token at its end.

    LLaVA-OneVision pads the finer grid to its tiles and cuts the padding off again.
    """
    from transformers.image_processing_utils import select_best_resolution

    processor = medium.processor
    tokens = processor.num_image_tokens
    side = math.isqrt(tokens)
    height, width = medium.image.height, medium.image.width
    tile = processor.image_processor.size["height"]
    high, wide = select_best_resolution(
        [height, width], processor.image_processor.image_grid_pinpoints
    )
    cells, rows = processor._get_unpadded_features(
        height, width, side, side, high // tile, wide // tile
    )
    expect(medium, tokens + cells + rows)
    columns = cells // rows
    fine = _without_ends(medium.positions[tokens:], columns)
    view = whole(medium, medium.positions[:tokens], side, side)
    return image_grid(medium, rows, columns, fine, [view])


def _without_ends(positions: Sequence[int], columns: int) -> list[int]:
    """Leave out the token after each row of so many."""
    return [each for i, each in enumerate(positions) if i % (columns + 1) < columns]


def overview_and_slices(medium: Medium) -> GridTokens:
    """All of it, small; then slices, row by row, with a line break after each (MiniCPM-V)."""
    cutter = medium.processor.image_processor
    merged = 2 if cutter.downsample_mode == "4x" else 4
    pieces = runs(medium.positions)
    first = _pieces_before(medium)
    grids = [
        (int(height) // merged, int(width) // merged)
        for height, width in medium.inputs["target_sizes"][first : first + len(pieces)]
    ]
    expect(medium, sum(rows * columns for rows, columns in grids))
    if len(pieces) == 1:
        return image_grid(medium, *grids[0])
    down = medium.text.count("\n") + 1
    across = (len(pieces) - 1) // down
    rows, columns = grids[1]
    fine = tiled([each for piece in pieces[1:] for each in piece], (down, across), grids[1])
    view = whole(medium, pieces[0], *grids[0])
    return image_grid(medium, down * rows, across * columns, fine, [view])


def _pieces_before(medium: Medium) -> int:
    """Return how many overviews and slices the images before this one have."""
    token = re.escape(medium.processor.image_token)
    return sum(len(re.findall(f"(?:{token})+", text)) for text in medium.earlier)
