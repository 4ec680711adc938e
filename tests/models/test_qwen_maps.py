"""Change one known place of a medium: what changes in the inputs belongs to that place's tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.media import LoadedImage, LoadedVideo, load_image, load_video
from omnitrace.sources.layout import build_layout
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import GridTokens, TimeTokens
from omnitrace.types import TimeRange
from tests.helpers import qwen_omni as omni

ADAPTER = omni.small()


def by_token(encoded: Any, name: str) -> torch.Tensor:
    """Return the patches that become each vision token: [tokens, patches × values]."""
    patches = encoded.inputs[name]
    return patches.reshape(patches.shape[0] // 4, -1)


def painted(width: int, height: int, box: tuple[int, int, int, int] | None) -> LoadedImage:
    pixels = np.full((height, width, 3), 90, np.uint8)
    if box is not None:
        x0, y0, x1, y1 = box
        pixels[y0:y1, x0:x1] = (250, 10, 10)
    return load_image(pixels)


def inner(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    return int(np.ceil(box[0])), int(np.ceil(box[1])), int(box[2]), int(box[3])


def change(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    difference: np.ndarray = (a - b).abs().sum(-1).numpy()
    return difference


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_a_painted_cell_is_its_token_and_no_other(rows: int, columns: int, data: Any):
    # A size that the processor keeps, so that a cell's pixels are exactly its patches.
    height, width = 28 * max(rows, 2), 28 * max(columns, 2)
    plain = omni.encode(ADAPTER, painted(width, height, None), "What?")
    (tokens,) = omni.of_part(plain, 0)
    assert (tokens.rows, tokens.columns) == (height // 28, width // 28)
    cell = data.draw(st.integers(0, tokens.rows * tokens.columns - 1))
    box = tokens.cell(cell)
    assert box == inner(box)
    marked = omni.encode(ADAPTER, painted(width, height, inner(box)), "What?")
    changed = change(by_token(plain, "pixel_values"), by_token(marked, "pixel_values"))
    assert np.flatnonzero(changed).tolist() == [cell]


@settings(max_examples=16, deadline=None)
@given(st.integers(20, 700), st.integers(20, 700), st.booleans(), st.data())
def test_a_painted_cell_of_a_resized_image_is_mostly_its_token(
    width: int, height: int, large: bool, data: Any
):
    adapter = omni.large() if large else ADAPTER
    plain = omni.encode(adapter, painted(width, height, None), "What?")
    (tokens,) = omni.of_part(plain, 0)
    cell = data.draw(st.integers(0, tokens.rows * tokens.columns - 1))
    box = inner(tokens.cell(cell))
    if box[2] - box[0] < 4 or box[3] - box[1] < 4:
        return  # too few pixels to paint it alone
    marked = omni.encode(adapter, painted(width, height, box), "What?")
    changed = change(by_token(plain, "pixel_values"), by_token(marked, "pixel_values"))
    assert changed.argmax() == cell
    assert changed[cell] > 0.6 * changed.sum()
    row, column = divmod(cell, tokens.columns)
    for other in np.flatnonzero(changed > 0.02 * changed[cell]):  # the filter's ringing
        assert abs(other // tokens.columns - row) <= 1
        assert abs(other % tokens.columns - column) <= 1


def test_the_second_image_is_not_the_first():
    sizes = [(60, 90), (84, 56)]
    plain = [painted(w, h, None) for w, h in sizes]
    marked = [plain[0], painted(*sizes[1], (0, 0, 28, 28))]
    before, after = (omni.encode(ADAPTER, *images, "What?") for images in (plain, marked))
    changed = change(by_token(before, "pixel_values"), by_token(after, "pixel_values"))
    first, second = (omni.of_part(before, part)[0] for part in (0, 1))
    # The model puts the k-th patch row of all images at the k-th image token of the prompt.
    order = [*first.positions, *second.positions]
    assert order == sorted(order)
    assert [order[i] for i in np.flatnonzero(changed)] == [second.positions[0]]


@settings(max_examples=12, deadline=None)
@given(st.floats(0.5, 6), st.floats(0, 1), st.integers(0, 1))
def test_a_burst_changes_the_tokens_of_its_time(seconds: float, where: float, before: int):
    samples = omni.noise(seconds, 1)
    at = int(where * (len(samples) - 1))
    burst = samples.copy()
    burst[at : at + 16] *= -1.5  # one millisecond
    other = [omni.audio(omni.noise(0.7, 2))] * before
    plain, marked = (omni.encode(ADAPTER, *other, omni.audio(x), "What?") for x in (samples, burst))
    (tokens,) = omni.of_part(plain, before)
    assert isinstance(tokens, TimeTokens)
    a, b = (e.inputs["input_features"][before] for e in (plain, marked))
    real = plain.inputs["feature_attention_mask"][before].bool()
    frames = np.flatnonzero((change(a.T, b.T) > 1e-6) & real.numpy())
    # A token is made of four mel frames of 10 ms each; the frames reach 12.5 ms to both sides.
    changed = sorted({frame // 4 for frame in frames if frame // 4 < len(tokens.positions)})
    start, end = at / omni.RATE, (at + 16) / omni.RATE
    reach = 0.0125 + 1e-9
    expected = [
        k
        for k, (first, _) in enumerate(tokens.intervals)
        if any(
            start - reach < first + 0.01 * i < end + reach and 4 * k + i < int(real.sum())
            for i in range(4)
        )
    ]
    assert changed == expected
    holding = [k for k, (s, e) in enumerate(tokens.intervals) if s <= start < e]
    assert set(holding) <= set(changed)


def test_a_burst_changes_the_unit_of_its_second():
    samples = omni.noise(5.0)
    encoded = omni.encode(ADAPTER, omni.audio(samples), "What?")
    layout = build_layout(*_layout_of(encoded))
    (tokens,) = omni.of_part(encoded, 0)
    for second in range(5):
        burst = samples.copy()
        burst[int((second + 0.3) * omni.RATE) :][:8000] *= 3
        marked = omni.encode(ADAPTER, omni.audio(burst), "What?")
        a, b = (e.inputs["input_features"][0].T for e in (encoded, marked))
        reach = 4 * len(tokens.positions)  # behind it is padding
        loudest = np.flatnonzero(change(a, b)[:reach] > 1e-3) // 4
        units = {int(layout.unit_index[tokens.positions[k]]) for k in loudest}
        (unit,) = units
        locator = layout.units[unit].locator
        assert isinstance(locator, TimeRange)
        assert (locator.start, locator.end) == (pytest.approx(second), pytest.approx(second + 1))


def _layout_of(encoded: Any) -> tuple[Any, ...]:
    return len(encoded.prompt_ids), encoded.geometry, SourceOptions()


def recoloured(clip: LoadedVideo, frame: int, box: Any = None) -> LoadedVideo:
    frames = clip.frames.copy()
    x0, y0, x1, y1 = box or (0, 0, clip.width, clip.height)
    frames[frame, y0:y1, x0:x1] = 255 - frames[frame, y0:y1, x0:x1]
    return dataclasses.replace(clip, frames=frames)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 9), st.sampled_from([1.0, 2.0, 3.3]), st.booleans(), st.data())
def test_a_changed_frame_is_in_the_tokens_that_hold_it(
    count: int, fps: float, sound: bool, data: Any
):
    clip = omni.video(count, fps, width=70, height=90, sound=2.0 if sound else None)
    frame = data.draw(st.integers(0, count - 1))
    plain, marked = (omni.encode(ADAPTER, x, "What?") for x in (clip, recoloured(clip, frame)))
    name = "pixel_values_videos"
    changed = set(np.flatnonzero(change(by_token(plain, name), by_token(marked, name))).tolist())
    tokens = omni.of_part(plain, 0)[0]
    holding = {k for k, held in enumerate(tokens.frames) if clip.frame_indices[frame] in held}
    assert changed == holding
    for k in holding:
        start, end = tokens.intervals[k]
        assert start <= clip.times[frame] < end


def test_a_changed_corner_of_a_frame_is_its_cell_only():
    frames = np.full((4, 84, 112, 3), 90, np.uint8)
    clip = load_video((frames, 2.0))
    marked = recoloured(clip, 3, (28, 56, 56, 84))  # row 2, column 1 of 3 × 4 cells
    a, b = (omni.encode(ADAPTER, x, "What?") for x in (clip, marked))
    name = "pixel_values_videos"
    assert a.inputs["video_grid_thw"].tolist() == [[2, 6, 8]]
    assert np.flatnonzero(change(by_token(a, name), by_token(b, name))).tolist() == [12 + 2 * 4 + 1]


def test_frames_of_a_file_with_a_lower_sampling_rate():
    frames = np.zeros((50, 28, 56, 3), np.uint8)
    clip = load_video((frames, 10.0), fps=2.0)
    encoded = omni.encode(ADAPTER, clip, "What?")
    (tokens,) = omni.of_part(encoded, 0)
    per_step = len(tokens.positions) // 5
    assert list(tokens.frames[::per_step]) == [(0, 5), (10, 15), (20, 25), (30, 35), (40, 45)]
    assert list(tokens.intervals[::per_step]) == [(i, i + 1.0) for i in range(5)]


def test_the_grid_of_an_image_has_the_shape_of_the_image():
    encoded = omni.encode(omni.large(), omni.image(640, 480), "What?")
    (tokens,) = omni.of_part(encoded, 0)
    assert isinstance(tokens, GridTokens)
    assert (tokens.rows, tokens.columns) == (17, 23)
    assert tokens.cell(0) == (0, 0, 640 / 23, 480 / 17)
    layout = build_layout(*_layout_of(encoded))
    assert len(layout.units) == 2 * 3
