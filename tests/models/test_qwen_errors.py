"""What Qwen2.5-Omni cannot take is refused by name, before the model runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from omnitrace.errors import InputError, MediaError, ModelError, NotSupportedError
from omnitrace.media import load_video
from omnitrace.models.base import LoadOptions
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.reference.training.build import CHAT_TEMPLATE, build_processor
from tests.helpers import qwen_omni as omni

ADAPTER = omni.small()


def test_audio_longer_than_the_model_hears():
    with pytest.raises(MediaError) as caught:
        omni.encode(ADAPTER, omni.audio(omni.noise(90.01)), "What?")
    said = str(caught.value)
    assert 'messages[0]["content"][0]' in said
    assert "90.0 s" in said
    assert "at most 90 s" in caught.value.legal
    assert "cut" in caught.value.fix
    omni.check_positions(ADAPTER, omni.encode(ADAPTER, omni.audio(omni.noise(90)), "What?"))


def test_the_sound_of_a_video_longer_than_the_model_hears():
    clip = omni.video(3, 1.0, sound=91)
    with pytest.raises(MediaError, match="longer than the 90 s"):
        omni.encode(ADAPTER, clip, "What?")
    omni.check_positions(ADAPTER, omni.encode(ADAPTER, clip, "What?", use_audio_in_video=False))


@pytest.mark.parametrize("samples", [1, 160, 320])
def test_audio_too_short_to_become_a_token(samples: int):
    with pytest.raises(MediaError, match="too short to become a token") as caught:
        omni.encode(ADAPTER, "Listen:", omni.audio(omni.noise(1)[:samples]), "What?")
    assert 'messages[0]["content"][1]' in str(caught.value)
    assert "at least 0.04 s" in caught.value.legal


def test_the_shortest_audio_that_becomes_a_token():
    encoded = omni.encode(ADAPTER, omni.audio(omni.noise(1)[:321]), "What?")
    (tokens,) = omni.of_part(encoded, 0)
    assert len(tokens.positions) == 1


def test_a_silent_and_a_sounding_video_together():
    silent, sounding = omni.video(4, 2.0), omni.video(4, 2.0, sound=2.0)
    with pytest.raises(NotSupportedError) as caught:
        omni.encode(ADAPTER, sounding, silent, "What?")
    assert 'messages[0]["content"][1] is silent' in str(caught.value)
    assert 'messages[0]["content"][0] has sound' in str(caught.value)
    assert "use_audio_in_video to False" in caught.value.fix
    with pytest.raises(NotSupportedError):
        omni.encode(ADAPTER, silent, sounding, "What?", use_audio_in_video=True)
    encoded = omni.encode(ADAPTER, sounding, silent, "What?", use_audio_in_video=False)
    omni.check_positions(ADAPTER, encoded)


def test_a_silent_video_whose_sound_is_asked_for():
    with pytest.raises(MediaError, match="has no sound, but use_audio_in_video is True") as caught:
        omni.encode(ADAPTER, omni.video(4, 2.0), "What?", use_audio_in_video=True)
    assert "'auto' or False" in caught.value.fix


def test_without_videos_there_is_no_sound_of_them():
    encoded = omni.encode(ADAPTER, omni.image(60, 60), "What?", use_audio_in_video=True)
    assert encoded.generate_options == {}


def test_the_sound_is_left_out_on_request():
    clip = omni.video(4, 2.0, sound=2.0)
    deaf = omni.encode(ADAPTER, clip, "What?", use_audio_in_video=False)
    silent = omni.encode(ADAPTER, dataclasses.replace(clip, audio=None), "What?")
    assert deaf.generate_options == {}
    assert deaf.prompt_ids == silent.prompt_ids
    assert "input_features" not in deaf.inputs
    (tokens,) = omni.of_part(deaf, 0)
    assert tokens.modality == "video"


def test_sounding_videos_of_different_rates():
    clips = omni.video(4, 2.0, sound=2.0), omni.video(4, 1.0, sound=2.0)
    with pytest.raises(NotSupportedError, match="different rates") as caught:
        omni.encode(ADAPTER, *clips, "What?")
    assert "video_fps" in caught.value.fix
    omni.check_positions(ADAPTER, omni.encode(ADAPTER, *clips, "?", use_audio_in_video=False))


RESERVED = ["<|IMAGE|>", "<|AUDIO|>", "<|VIDEO|>"]
MARKERS = ["<|audio_bos|>", "<|audio_eos|>", "<|vision_bos|>", "<|vision_eos|>"]


@pytest.mark.parametrize("token", [*RESERVED, *MARKERS])
def test_reserved_tokens_in_a_text(token: str):
    with pytest.raises(InputError) as caught:
        omni.encode(ADAPTER, omni.image(60, 60), f"What is {token}?", "Say.")
    assert 'messages[0]["content"][1]' in str(caught.value)
    assert repr(token) in str(caught.value)
    assert caught.value.fix


def test_a_picture_that_the_processor_refuses():
    # Frames of a video that was not loaded by load_video, which has the same limit.
    clip = load_video((np.zeros((2, 40, 40, 3), np.uint8), 2.0))
    clip = dataclasses.replace(clip, frames=np.zeros((2, 1, 400, 3), np.uint8))
    with pytest.raises(MediaError, match="the model's processor refuses the media") as caught:
        omni.encode(ADAPTER, clip, "What?")
    assert "200" in str(caught.value)


def test_a_template_without_a_place_for_the_media():
    processor = build_processor(ADAPTER.tokenizer)
    processor.chat_template = CHAT_TEMPLATE.replace("<|audio_bos|><|AUDIO|><|audio_eos|>", "")
    adapter = ProcessorAdapter(ADAPTER.model, processor)
    with pytest.raises((ModelError, MediaError), match=r"placeholder|refuses"):
        omni.encode(adapter, omni.audio(omni.noise(1)), "What?")


def test_there_are_no_gguf_files():
    with pytest.raises(ModelError, match="reads no GGUF file") as caught:
        ProcessorAdapter.load("nowhere", LoadOptions(gguf_file="x.gguf"))
    assert "safetensors" in caught.value.legal


def test_the_talker_is_not_needed():
    class Full:
        thinker = ADAPTER.model

    adapter = ProcessorAdapter(Full(), ADAPTER.processor)
    assert adapter.model is ADAPTER.model
    assert adapter.decoder is ADAPTER.model.get_decoder()
    assert adapter.max_context == 4096


def held_frame(times: list[float]) -> Any:
    """Make a video of variable rate: frames as sampled, at the times at which they begin."""
    clip = omni.video(len(times), 2.0)
    stamps = np.array(times)
    return dataclasses.replace(
        clip, times=stamps, frame_indices=np.unique(stamps, return_inverse=True)[1]
    )


def test_a_frame_that_is_shown_for_long_lasts_until_the_next():
    # Ten instants, two frames: as a slide show is sampled.
    clip = held_frame([0.0] * 6 + [2.6] * 4)
    encoded = omni.encode(ADAPTER, clip, "What?")
    (tokens,) = omni.of_part(encoded, 0)
    per_step = len(tokens.positions) // 5
    assert list(tokens.intervals[::per_step]) == [(0, 2.6)] * 3 + [(2.6, 5.0)] * 2
    assert list(tokens.frames[::per_step]) == [(0, 0)] * 3 + [(1, 1)] * 2
