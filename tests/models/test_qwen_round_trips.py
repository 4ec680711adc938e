"""Random requests through the official processor: every token of it is accounted for."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo, load_audio
from omnitrace.models.base import Encoded
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.reference.training.tensors import audio_tokens
from omnitrace.sources.layout import build_layout
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import GridTokens, TextTokens, TimeTokens
from omnitrace.types import ImageRegion, PositionKind, TimeRange
from tests.helpers import qwen_omni as omni


def few(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None)


@st.composite
def sizes(draw: st.DrawFn, longest: int = 500) -> tuple[int, int]:
    """Draw (width, height), up to the aspect ratio of 200 that the processor allows."""
    width = draw(st.integers(1, longest))
    height = draw(st.integers(max(1, math.ceil(width / 200)), min(longest, width * 200)))
    return draw(st.permutations((width, height)).map(tuple))


@st.composite
def images(draw: st.DrawFn) -> LoadedImage:
    width, height = draw(sizes())
    return omni.image(width, height)


@st.composite
def audios(draw: st.DrawFn) -> LoadedAudio:
    rate = draw(st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]))
    seconds = draw(st.floats(0.05, 8))
    count = math.ceil(seconds * rate)
    return load_audio((omni.noise(count / omni.RATE)[:count], rate))


@st.composite
def videos(draw: st.DrawFn, *, sound: bool = False, fps: float | None = None) -> LoadedVideo:
    width, height = draw(sizes(120))
    frames = draw(st.integers(1, 12))
    rate = fps or draw(st.sampled_from([0.5, 1.0, 2.0, 3.0, 12.5, 25.0, 30000 / 1001]))
    sampled = fps or draw(st.sampled_from([0.5, 1.0, 2.0, 2.4, 5.0]))
    seconds = draw(st.floats(0.05, 8)) if sound else None
    return omni.video(frames, rate, width=width, height=height, fps=sampled, sound=seconds)


def check_image(found: GridTokens, picture: LoadedImage, encoded: Encoded, row: int) -> None:
    _, high, wide = encoded.inputs["image_grid_thw"][row].tolist()
    assert (found.rows, found.columns) == (high // 2, wide // 2)
    assert len(found.positions) == high * wide // 4
    assert (found.width, found.height) == (picture.width, picture.height)
    assert found.cell(len(found.positions) - 1)[2:] == (picture.width, picture.height)


def check_audio(found: TimeTokens, sound: LoadedAudio) -> None:
    frames = -(-len(sound.samples) // 160)
    assert len(found.positions) == len(found.intervals) == audio_tokens(frames)
    assert found.modality == "audio"
    assert found.duration == sound.duration
    assert found.intervals[0][0] == 0
    # 25 tokens a second; what is shorter than a token at the end may have none.
    assert abs(found.intervals[-1][1] - sound.duration) <= 0.04
    assert found.intervals[-1][0] < sound.duration


def check_pictures(found: TimeTokens, clip: LoadedVideo, grid: list[int]) -> None:
    steps, high, wide = grid
    assert steps == math.ceil(len(clip.frames) / 2)
    assert len(found.positions) == steps * high * wide // 4
    assert found.frames is not None
    per_step = high * wide // 4
    for step in range(steps):
        own = slice(step * per_step, (step + 1) * per_step)
        assert set(found.frames[own]) == {tuple(clip.frame_indices[2 * step : 2 * step + 2])}
        ((start, end),) = set(found.intervals[own])
        assert start == clip.times[2 * step]
        assert start < end <= clip.duration
    assert found.intervals[-1][1] == clip.duration


def check_all(adapter: ProcessorAdapter, encoded: Encoded, content: list[Any]) -> None:
    """Check every part's geometry, in a request of any order."""
    omni.check_positions(adapter, encoded)
    seen = {"image": 0, "video": 0}
    for number, item in enumerate(content):
        found = omni.of_part(encoded, number)
        if isinstance(item, str):
            for tokens in found:
                assert isinstance(tokens, TextTokens)
            continue
        if isinstance(item, LoadedImage):
            check_image(found[0], item, encoded, seen["image"])
            seen["image"] += 1
        elif isinstance(item, LoadedAudio):
            check_audio(found[0], item)
        else:
            grid = encoded.inputs["video_grid_thw"][seen["video"]].tolist()
            check_pictures(found[0], item, grid)
            seen["video"] += 1
        with_sound = encoded.generate_options.get("use_audio_in_video", False)
        assert len(found) == (2 if isinstance(item, LoadedVideo) and with_sound else 1)
        if len(found) == 2:
            assert item.audio is not None
            check_audio(found[1], item.audio)


@few(25)
@given(images(), st.sampled_from(["small", "large"]))
def test_images_of_any_size(picture: LoadedImage, which: str):
    adapter = getattr(omni, which)()
    content = [picture, "What is it?"]
    check_all(adapter, omni.encode(adapter, *content), content)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (200, 1), (1, 200), (1400, 7), (29, 3000)])
@pytest.mark.parametrize("which", ["small", "large"])
def test_extreme_images(width: int, height: int, which: str):
    adapter = getattr(omni, which)()
    content = [omni.image(width, height), "What is it?"]
    check_all(adapter, omni.encode(adapter, *content), content)


@few(12)
@given(audios())
def test_audio_of_any_length_and_rate(sound: LoadedAudio):
    content = [sound, "What is it?"]
    check_all(omni.small(), omni.encode(omni.small(), *content), content)


@pytest.mark.parametrize("samples", [*range(480, 489), 799, 800, 801, 1120, 1121, 16_000, 16_161])
def test_audio_lengths_around_a_frame(samples: int):
    content = [omni.audio(omni.noise(2)[:samples]), "?"]
    check_all(omni.small(), omni.encode(omni.small(), *content), content)


@few(25)
@given(videos(), st.booleans())
def test_silent_videos(clip: LoadedVideo, large: bool):
    adapter = omni.large() if large and clip.frames.shape[0] < 5 else omni.small()
    content = [clip, "What happens?"]
    encoded = omni.encode(adapter, *content)
    check_all(adapter, encoded, content)
    assert encoded.inputs["video_second_per_grid"].tolist() == pytest.approx([2 / clip.fps])


@few(16)
@given(videos(sound=True), st.sampled_from(["auto", True]))
def test_videos_with_sound(clip: LoadedVideo, wanted: Any):
    content = [clip, "What happens?"]
    encoded = omni.encode(omni.small(), *content, use_audio_in_video=wanted)
    assert encoded.generate_options == {"use_audio_in_video": True}
    check_all(omni.small(), encoded, content)


@pytest.mark.parametrize("fps", [0.3, 0.6, 1.2, 1.3, 2.4, 2.6, 12.5, 25.0, 24000 / 1001])
def test_sound_at_rates_that_have_no_exact_seconds_per_grid(fps: float):
    # Chunk boundaries that fall onto a grid step are decided by the last bit.
    clip = omni.video(round(20 * fps) + 1, fps, width=8, height=8, sound=20)
    content = [clip, "What happens?"]
    check_all(omni.small(), omni.encode(omni.small(), *content), content)


TEXTS = st.sampled_from(
    ["The lamp is red.", " ", "", "é 🙂 e\u0301", "a\n\nb", "<|im_end|>", "{{ text }}"]
)


@few(25)
@given(
    st.lists(st.one_of(TEXTS, images(), audios(), videos()), max_size=5),
    st.lists(st.one_of(TEXTS, images(), audios(), videos(sound=True, fps=2.0)), max_size=5),
    st.booleans(),
)
def test_parts_in_any_order_and_number(silent: list[Any], sounding: list[Any], with_sound: bool):
    adapter = omni.small()
    content = [*(sounding if with_sound else silent), "What is it?"]
    encoded = omni.encode(adapter, *content)
    check_all(adapter, encoded, content)
    # Every medium is wholly source, and every unit lies inside its medium.
    layout = build_layout(len(encoded.prompt_ids), encoded.geometry, SourceOptions())
    for tokens in encoded.geometry:
        if not isinstance(tokens, TextTokens):
            assert (layout.kinds[list(tokens.positions)] == PositionKind.SOURCE).all()
    for unit in layout.units:
        item = content[unit.locator.part]
        if isinstance(unit.locator, TimeRange):
            limit = item.duration
            if isinstance(item, LoadedVideo) and unit.modality == "audio":
                assert item.audio is not None
                limit = item.audio.duration
            assert 0 <= unit.locator.start < unit.locator.end <= limit
        elif isinstance(unit.locator, ImageRegion):
            assert unit.locator.box[2] <= item.width + 1e-6
            assert unit.locator.box[3] <= item.height + 1e-6


@few(25)
@given(st.lists(TEXTS | st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=4))
@example(["The lamp is red.", " ", "The lamp is red."])
@example(["<|vision_eos|>"])
def test_texts_around_a_medium_are_found_letter_for_letter(texts: list[str]):
    # hypothesis also draws strings from our own code, and these are refused.
    assume(not any("<|" in text and text != "<|im_end|>" for text in texts))
    adapter = omni.small()
    content: list[Any] = [texts[0], omni.image(60, 60), *texts[1:]]
    encoded = omni.encode(adapter, *content)
    for number, item in enumerate(content):
        if not isinstance(item, str):
            continue
        covered: set[int] = set()
        for tokens in omni.of_part(encoded, number):
            for start, end in tokens.ranges:
                assert 0 <= start < end <= len(item)
                covered.update(range(start, end))
        # Texts side by side share tokens, and the one with more of a token owns it.
        beside = number > 0 and len(texts) > 2
        assert len(set(range(len(item))) - covered) <= (8 if beside else 0)
