"""The size at which a picture is shown, and the seconds of a clip: the maps stay the original's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace import Tracer
from omnitrace.ablation.input_operators import Silence
from omnitrace.errors import InputError
from omnitrace.media import LoadedAudio, LoadedVideo, load_image
from omnitrace.models.picture_sizes import keeps_sizes, shown_image
from omnitrace.models.places.unknown import whole_medium
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart
from omnitrace.sources.token_map import GridTokens, TimeTokens
from omnitrace.testing.families import tiny_family
from omnitrace.types import ImageRegion, TimeRange
from tests.helpers import media_files

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (180, 240, 3), dtype=np.uint8)
FRAMES = RNG.integers(0, 256, (24, 60, 80, 3), dtype=np.uint8)


def asked(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]


def geometry(name: str, part: dict[str, Any]) -> Any:
    adapter = tiny_family(name)
    conversation = Tracer(adapter=adapter, signal="attention-mean").read(asked(part))
    encoded = adapter.encode(conversation, SourceOptions())
    (found,) = (each for each in encoded.geometry if isinstance(each, GridTokens | TimeTokens))
    return found


@pytest.mark.parametrize(
    ("key", "sizes"),
    [
        ({"max_pixels": 12_000}, {28: (3, 4), 32: (2, 3)}),
        ({"resized_height": 112, "resized_width": 56}, {28: (4, 2), 32: (4, 2)}),
        ({"min_pixels": 90_000, "max_pixels": 200_000}, {28: (10, 13), 32: (9, 11)}),
    ],
)
@pytest.mark.parametrize("name", ["qwen2.5-omni", "qwen3-vl", "glm-4.1v"])
def test_images(name: str, key: dict[str, int], sizes: dict[int, tuple[int, int]]):
    own = tiny_family(name).processor.image_processor
    found = geometry(name, {"type": "image", "image": PICTURE, **key})
    assert found.grid == sizes[own.patch_size * own.merge_size]
    assert found.size == (240, 180)
    assert found.cell(len(found.positions) - 1)[2:] == (240, 180)


@pytest.mark.parametrize(
    ("key", "tokens"),
    [
        ({"total_pixels": 20_000}, 2),
        ({"resized_height": 84, "resized_width": 84}, 9),
        ({"max_pixels": 1_600}, 1),
    ],
)
def test_videos(key: dict[str, int], tokens: int):
    found = geometry("glm-4.1v", {"type": "video", "video": (FRAMES, 4.0), **key})
    assert len(found.positions) == 6 * tokens
    assert (found.intervals[0][0], found.intervals[-1][1]) == (0, 6)


@pytest.mark.parametrize("name", ["gemma3", "internvl"])
def test_models_that_cannot_be_told(name: str):
    with pytest.raises(InputError, match=r"'max_pixels', which .* cannot be told") as caught:
        geometry(name, {"type": "image", "image": PICTURE, "max_pixels": 12_000})
    assert "AutoProcessor.from_pretrained" in str(caught.value)


def test_limits_of_the_processor_are_named():
    with pytest.raises(InputError, match=r"asks for min_pixels=90000, and .* at 252x196") as caught:
        geometry("qwen2.5-omni", {"type": "image", "image": PICTURE, "min_pixels": 90_000})
    assert "50176" in caught.value.legal
    assert "'max_pixels' too" in caught.value.fix
    with pytest.raises(InputError, match="at most 100 pixels, and a token shows 784"):
        geometry("qwen2.5-omni", {"type": "image", "image": PICTURE, "max_pixels": 100})


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(16, 900), st.integers(0, 900))
def test_any_picture_keeps_its_bounds(width: int, height: int, most: int, less: int):
    own = SimpleNamespace(
        patch_size=1,
        merge_size=2,
        temporal_patch_size=2,
        size={},
        model_input_names=["image_grid_thw"],
    )
    keys = {"min_pixels": max(1, most - less), "max_pixels": most}
    image = load_image(np.zeros((height, width, 3), np.uint8))
    part = MediaPart(0, 0, "user", "image", image, asked=keys)
    shown = shown_image(part, SimpleNamespace(image_processor=own))
    assert shown.width % 2 == shown.height % 2 == 0
    assert shown.width * shown.height <= most
    if max(width, height) <= 4 * min(width, height):
        room = 2 * (shown.width + shown.height)
        assert shown.width * shown.height >= keys["min_pixels"] - room


def test_only_a_largest_size_makes_scaling_again_needless():
    def part(**keys: int) -> MediaPart:
        return MediaPart(0, 0, "user", "image", load_image(PICTURE), asked=keys)

    assert keeps_sizes([part(max_pixels=9), part(resized_height=9, resized_width=9)])
    assert not keeps_sizes([part(max_pixels=9), part()])
    assert not keeps_sizes([part(min_pixels=9)])


@pytest.mark.parametrize("name", ["qwen2.5-omni", "gemma4"])
def test_the_seconds_of_a_clip_are_the_original_s(name: str):
    key = {"video_start": 3, "video_end": 5}
    found = geometry(name, {"type": "video", "video": (FRAMES, 4.0), **key})
    assert (found.intervals[0][0], found.intervals[-1][1], found.duration) == (3, 5, 5)
    assert (found.frames[0][0], found.frames[-1][-1]) == (12, 18)
    sound = media_files.tone(16_000, 4)
    heard = geometry(name, {"type": "audio", "audio": sound, "audio_start": 1, "audio_end": 3})
    assert heard.intervals[0][0] == pytest.approx(1, abs=0.03)
    assert heard.intervals[-1][1] == pytest.approx(3, abs=0.05)
    assert heard.duration == 3


def test_a_trace_of_a_clip_with_sound(reference: Tracer, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    media_files.write_video(
        path, [i / 10 for i in range(60)], rate=10, audio=media_files.tone(48_000, 6)
    )
    part = {"type": "video", "video": str(path), "video_start": 2, "video_end": 4, "nframes": 4}
    trace = reference.trace(asked(part), max_new_tokens=2)
    places = [unit.locator for unit in trace.units]
    assert all(isinstance(each, TimeRange) for each in places)
    assert {unit.modality for unit in trace.units} == {"video", "audio"}
    assert sorted((each.start, each.end) for each in places) == 2 * [(2, 3)] + 2 * [(3, 4)]
    assert trace.media[0].duration == pytest.approx(6)
    again = reference.trace(trace.request(), max_new_tokens=2)
    assert again.prompt_ids == trace.prompt_ids
    assert again.units == trace.units
    conversation = reference.read(asked(part))
    unit = next(unit for unit in trace.units if unit.modality == "audio" and unit.locator.start > 2)
    edited = Silence().edit(conversation.media()[0], [unit])
    assert isinstance(edited, MediaPart)
    assert isinstance(edited.media, LoadedVideo)
    assert isinstance(edited.media.audio, LoadedAudio)
    samples = edited.media.audio.samples
    assert np.abs(samples[:15_000]).max() > 0.1
    assert not samples[16_000:].any()


def test_a_trace_of_an_image_at_another_size(reference: Tracer):
    part = {"type": "image", "image": PICTURE, "max_pixels": 4 * 28**2}
    trace = reference.trace(asked(part), max_new_tokens=2)
    (region,) = (unit.locator for unit in trace.units)
    assert isinstance(region, ImageRegion)
    assert region.box == (0, 0, 240, 180)
    assert trace.media[0].size == (240, 180)
    assert trace.messages[0]["content"][0] == {"type": "image", "media": 0, "max_pixels": 3136}
    again = reference.trace(trace.request(), max_new_tokens=2)
    assert again.prompt_ids == trace.prompt_ids


def test_an_unknown_processor_s_clip_is_one_unit():
    medium = SimpleNamespace(
        part=SimpleNamespace(modality="audio", message=0, part=0, media=None, source_id=None),
        positions=[3, 4],
        processor=None,
        sound=LoadedAudio(np.zeros(16_000, np.float32), "", "a", start=2.0),
    )
    medium.audio = medium.sound
    with pytest.warns(RuntimeWarning, match="is one source unit"):
        found = whole_medium(medium)  # type: ignore[arg-type]
    assert isinstance(found, TimeTokens)
    assert list(found.intervals) == [(2, 3), (2, 3)]
