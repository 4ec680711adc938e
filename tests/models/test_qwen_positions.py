"""The model's own positions (M-RoPE) agree with the seconds and cells that the adapter tells.

The adapter and the model count apart from each other: the adapter from the media, the model from
the grids in the inputs. Where both agree, a token's time is what the model takes it to be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from omnitrace.models.base import Encoded
from omnitrace.sources.token_map import GridTokens, TimeTokens
from tests.helpers import qwen_omni as omni

ADAPTER = omni.small()
PER_SECOND = ADAPTER.model.config.position_id_per_seconds


def starts(tokens: TimeTokens) -> np.ndarray:
    return np.array([start for start, _ in tokens.intervals])


def times(encoded: Encoded, tokens: TimeTokens, base: int | None = None) -> np.ndarray:
    """Seconds that the model gives to the tokens, counted from the first or from ``base``."""
    ids = omni.mrope(ADAPTER, encoded)[0, list(tokens.positions)]
    seconds: np.ndarray = (ids - (ids[0] if base is None else base)) / PER_SECOND
    return seconds


def test_the_processor_and_the_model_count_alike():
    processor, config = ADAPTER.processor, ADAPTER.model.config
    names = ("position_id_per_seconds", "seconds_per_chunk")
    counts = {name: getattr(processor, name, None) for name in names}
    assert counts == {name: getattr(config, name) for name in counts}
    assert PER_SECOND == 25


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.0, 3.21, 8.0])
def test_audio(seconds: float):
    encoded = omni.encode(ADAPTER, omni.audio(omni.noise(seconds)), omni.image(60, 60), "What?")
    (tokens,) = omni.of_part(encoded, 0)
    assert times(encoded, tokens) == pytest.approx(starts(tokens))


@pytest.mark.parametrize(("width", "height"), [(60, 60), (112, 84), (30, 200), (300, 40)])
def test_image_cells(width: int, height: int):
    content = ["Look:", omni.image(50, 90, 1), omni.image(width, height), "What?"]
    encoded = omni.encode(ADAPTER, *content)
    for part in (1, 2):
        (tokens,) = omni.of_part(encoded, part)
        assert isinstance(tokens, GridTokens)
        ids = omni.mrope(ADAPTER, encoded)[:, list(tokens.positions)]
        cells = np.arange(tokens.rows * tokens.columns)
        assert (ids[0] == ids[0, 0]).all()
        assert (ids[1] - ids[1, 0]).tolist() == (cells // tokens.columns).tolist()
        assert (ids[2] - ids[2, 0]).tolist() == (cells % tokens.columns).tolist()


@pytest.mark.parametrize("fps", [0.3, 0.5, 1.0, 1.3, 2.0, 3.0, 12.5, 24000 / 1001])
@pytest.mark.parametrize("frames", [1, 2, 7, 12])
def test_silent_videos(fps: float, frames: int):
    first = omni.video(frames, fps, width=70, height=40)
    other = omni.video(5, 2.0, seed=1)  # each video has a rate of its own
    encoded = omni.encode(ADAPTER, first, "Then:", other, "What happens?")
    for part in (0, 2):
        (tokens,) = omni.of_part(encoded, part)
        assert np.abs(times(encoded, tokens) - starts(tokens)).max() <= 1 / PER_SECOND + 1e-6


RATES = [
    0.3,
    0.5,
    0.6,
    1.0,
    1.2,
    1.3,
    2.0,
    2.3,
    2.4,
    2.6,
    3.7,
    5.4,
    7.4,
    7.7,
    9.8,
    12.5,
    14.8,
    25.0,
]


@pytest.mark.parametrize("fps", [*RATES, 24000 / 1001, 30000 / 1001])
def test_pictures_and_sound_have_one_clock(fps: float):
    clip = omni.video(round(20 * fps) + 1, fps, width=8, height=8, sound=20)
    encoded = omni.encode(ADAPTER, "Watch:", clip, "What happens?")
    pictures, sound = omni.of_part(encoded, 1)
    assert (pictures.modality, sound.modality) == ("video", "audio")
    base = omni.mrope(ADAPTER, encoded)[0, pictures.positions[0]]
    assert times(encoded, sound, base) == pytest.approx(starts(sound))
    assert np.abs(times(encoded, pictures, base) - starts(pictures)).max() <= 1 / PER_SECOND + 1e-6


@pytest.mark.parametrize("sound", [0.05, 3.0, 5.0, 9.0])
def test_sound_that_is_shorter_or_longer_than_the_pictures(sound: float):
    clip = omni.video(10, 2.0, sound=sound)
    encoded = omni.encode(ADAPTER, clip, "What happens?")
    pictures, audible = omni.of_part(encoded, 0)
    base = omni.mrope(ADAPTER, encoded)[0, pictures.positions[0]]
    assert times(encoded, pictures, base) == pytest.approx(starts(pictures))
    assert times(encoded, audible, base) == pytest.approx(starts(audible))


def test_sound_and_pictures_alternate_every_two_seconds():
    clip = omni.video(10, 2.0, width=8, height=8, sound=5.0)
    encoded = omni.encode(ADAPTER, clip, "What happens?")
    pictures, sound = omni.of_part(encoded, 0)
    owner = dict.fromkeys(pictures.positions, "v") | dict.fromkeys(sound.positions, "a")
    order = "".join(owner[p] for p in sorted(owner))
    per_step = len(pictures.positions) // 5
    chunk = "v" * 2 * per_step + "a" * 50
    assert order == chunk * 2 + "v" * per_step + "a" * 25
    ids = omni.encode(ADAPTER, clip, "What happens?").prompt_ids
    name = ADAPTER.tokenizer.convert_ids_to_tokens
    first, last = min(owner), max(owner)
    assert name(list(ids[first - 2 : first])) == ["<|vision_bos|>", "<|audio_bos|>"]
    assert name(list(ids[last + 1 : last + 3])) == ["<|audio_eos|>", "<|vision_eos|>"]


def test_several_sounding_videos_beside_audio_and_images():
    content: list[Any] = [
        omni.audio(omni.noise(1.0, 1)),
        omni.video(6, 2.0, sound=3.0, seed=2),
        omni.image(60, 100),
        omni.audio(omni.noise(0.3, 3)),
        omni.video(4, 2.0, width=100, height=40, sound=2.5, seed=4),
        "What happens?",
    ]
    encoded = omni.encode(ADAPTER, *content)
    positions = omni.mrope(ADAPTER, encoded)
    for part in (1, 4):
        pictures, sound = omni.of_part(encoded, part)
        base = positions[0, pictures.positions[0]]
        assert times(encoded, pictures, base) == pytest.approx(starts(pictures))
        assert times(encoded, sound, base) == pytest.approx(starts(sound))
    for part in (0, 3):
        (tokens,) = omni.of_part(encoded, part)
        assert times(encoded, tokens) == pytest.approx(starts(tokens))
