"""Where the tokens of an image lie: one rule for each way in which processors cut images.

Every rule counts its tokens and refuses a prompt that has another number of them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from omnitrace.models.places.base import Medium, expect, image_grid, runs, tiled, whole
from omnitrace.sources.token_map import Box, GridTokens, Overview

__all__ = [
    "base_and_rows",
    "grid",
    "marked_tiles",
    "overview_and_slices",
    "padded_grid",
    "pooled",
    "rows_then_overview",
    "rows_with_breaks",
    "square",
    "square_ahead",
    "tiles_and_thumbnail",
]

_AHEAD: Final = 7.5


def grid(medium: Medium) -> GridTokens:
    """Resized without cropping; ``image_grid_thw`` counts patches, merged in squares."""
    merge = medium.processor.image_processor.merge_size
    _, height, width = medium.sizes("image_grid_thw")
    return image_grid(medium, height // merge, width // merge)


def padded_grid(medium: Medium) -> GridTokens:
    """Perhaps made smaller, then padded to whole tokens on the right and below (Kimi K2.5)."""
    from transformers.models.kimi_k25.image_processing_kimi_k25 import navit_resize

    cutter, image = medium.processor.image_processor, medium.image
    (height, width), padded = navit_resize(
        image.height,
        image.width,
        cutter.patch_size,
        cutter.merge_size,
        cutter.max_patches,
        cutter.size["max_height"],
    )
    token = cutter.patch_size * cutter.merge_size
    canvas = (0.0, 0.0, padded[1] * image.width / width, padded[0] * image.height / height)
    return image_grid(medium, padded[0] // token, padded[1] // token, canvas=canvas)


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


def square_ahead(medium: Medium) -> GridTokens:
    """Squeezed into a square; strided convolutions see each token's place late (Gemma 3n).

    Each convolution with a stride of 2 pads to the right and at the bottom only, so its window lies
    half a pixel of its input ahead. Down to a stride of 16 that is 7.5 pixels of the square.
    """
    tokens = square(medium)
    side = medium.processor.image_processor.size["height"]
    right, down = tokens.width * _AHEAD / side, tokens.height * _AHEAD / side
    return replace(tokens, canvas=(right, down, tokens.width + right, tokens.height + down))


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

    LLaVA-OneVision pads the finer grid to its tiles, and cuts whole tokens of padding off again.
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
    canvas = _left_of_padded(medium, (wide, high), tile / side)
    return image_grid(medium, rows, columns, fine, [view], canvas)


def _left_of_padded(medium: Medium, padded: tuple[int, int], cell: float) -> Box:
    """Return what tokens of ``cell`` pixels show of an image that is padded on all sides.

    The image is resized to fit into ``padded``, (width, height); so many tokens are cut off at both
    ends as lie in the padding as a whole, where the image counts as a whole number of tokens.
    """
    size = medium.image.width, medium.image.height
    scale = min(padded[0] / size[0], padded[1] / size[1])
    sides = []
    for i in (0, 1):
        resized = min(math.ceil(size[i] * scale), padded[i])
        before = (padded[i] - resized) // 2
        tokens, others = round(padded[i] / cell), round(padded[1 - i] / cell)
        counted = int(round(size[i] * (others / size[1 - i]), 7))
        cut = max(0, (tokens - counted) // 2) * cell
        sides.append([(x - before) * size[i] / resized for x in (cut, padded[i] - cut)])
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def rows_then_overview(medium: Medium) -> GridTokens:
    """Rows of a fine grid, each with one more token at its end; a token; then all of it, small.

    Phi-4-multimodal pads the image to whole tiles on the right or below, and leaves out the tokens
    of the tiles that show padding alone. The small one shows the padding, too.
    """
    cutter, image = medium.processor.image_processor, medium.image
    side = math.ceil(cutter.size["height"] / cutter.patch_size / 2)  # a token is 2 x 2 patches
    height, width = medium.sizes("image_sizes")
    high, wide = height // cutter.size["height"], width // cutter.size["width"]
    mask = medium.inputs["image_attention_mask"][medium.index]
    seen = mask[1 : 1 + high * wide, 0::2, 0::2].reshape(high, wide, side, side)
    seen = seen.transpose(1, 2).reshape(high * side, wide * side)
    rows, columns = int(seen[:, 0].sum()), int(seen[0].sum())
    fine = rows * (columns + 1)
    expect(medium, fine + 1 + side * (side + 1))
    scale = min(width / image.width, height / image.height)
    across = image.width * width / min(width, int(image.width * scale))
    down = image.height * height / min(height, int(image.height * scale))
    small = _without_ends(medium.positions[fine + 1 :], side)
    view = Overview(small, side, side, (0.0, 0.0, across, down))
    canvas = (0.0, 0.0, across * columns / (wide * side), down * rows / (high * side))
    own = _without_ends(medium.positions[:fine], columns)
    return image_grid(medium, rows, columns, own, [view], canvas)


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
