"""Processors that pad images: the grid of tokens lies on a canvas, and ends with the image."""

from __future__ import annotations

import pytest

from omnitrace.errors import InputError
from omnitrace.models.families import FAMILIES
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.sources.token_map import GridTokens
from omnitrace.testing.causal_maps import image_places
from omnitrace.testing.families import tiny_family
from tests.helpers import qwen_omni as omni


def grid(adapter: ProcessorAdapter, width: int, height: int) -> GridTokens:
    tokens = omni.of_part(omni.encode(adapter, omni.image(width, height), "What?"), 0)[0]
    assert isinstance(tokens, GridTokens)
    return tokens


@pytest.mark.parametrize("size", [(200, 120), (2, 300), (28, 57)])
def test_kimi_pads_to_whole_tokens_on_the_right_and_below(size: tuple[int, int]) -> None:
    tokens = grid(tiny_family("kimi-k2.5"), *size)
    assert (tokens.columns, tokens.rows) == (-(-size[0] // 28), -(-size[1] // 28))
    assert tokens.canvas == (0, 0, 28 * tokens.columns, 28 * tokens.rows)
    assert tokens.cell(tokens.rows * tokens.columns - 1)[2:] == size
    whole = grid(tiny_family("kimi-k2.5"), 28, 56)
    assert (whole.grid, whole.canvas) == ((2, 1), None)


def test_kimi_makes_large_images_smaller_first() -> None:
    adapter = tiny_family("kimi-k2.5")
    adapter.processor.image_processor.max_patches = 64
    tokens = grid(adapter, 300, 200)
    assert tokens.canvas is not None
    assert tokens.canvas[2] >= 300
    assert tokens.canvas[3] >= 200
    # A token shows as much across as down, up to the whole pixels of the smaller image.
    across, down = tokens.canvas[2] / tokens.columns, tokens.canvas[3] / tokens.rows
    assert across == pytest.approx(down, rel=0.02)
    assert image_places(adapter, 8)[0].exact == 8


def test_phi_pads_its_tiles_and_shows_the_padding_in_the_overview() -> None:
    tokens = grid(tiny_family("phi-4-multimodal"), 200, 120)
    (view,) = tokens.overviews
    assert (tokens.columns, tokens.rows) == (16, 10)  # of 16 x 16; the image is 9.6 high
    assert tokens.canvas == pytest.approx((0, 0, 200, 125.37), abs=0.01)
    assert view.box == pytest.approx((0, 0, 200, 200.6), abs=0.01)
    lowest = tokens.cell_positions()[-tokens.columns :]
    assert set(view.positions[-16:]) <= {place for cell in lowest for place in cell}


def test_llava_cuts_whole_tokens_of_padding() -> None:
    """200 by 120 becomes 224 by 135 of 224 by 224: 44 pixels above, of which 3 tokens of 14 go."""
    tokens = grid(tiny_family("llava-onevision"), 200, 120)
    assert (tokens.columns, tokens.rows) == (16, 10)
    assert tokens.canvas == pytest.approx((0, -2 * 120 / 135, 200, 138 * 120 / 135))
    square = grid(tiny_family("llava-onevision"), 64, 64)
    assert square.canvas is None


def test_what_only_a_newer_transformers_can_do_is_refused_with_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (kimi,) = (family for family in FAMILIES if family.name == "kimi-k2.5")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "5.23.0")
    assert kimi.modalities == ("text", "image")
    with pytest.raises(InputError, match="takes no video") as caught:
        omni.encode(tiny_family("kimi-k2.5"), omni.video(4, 2.0), "What?")
    assert caught.value.fix == "install transformers 5.24 or newer"
    monkeypatch.setattr("importlib.metadata.version", lambda name: "5.24.0")
    assert kimi.modalities == ("text", "image", "video")
