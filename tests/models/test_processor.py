"""What a model with a processor cannot take is refused by name, and media keep their true times."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import Tracer
from omnitrace.errors import InputError, ModelError, NotSupportedError
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.models.families import place_of
from omnitrace.models.loading import adapter_for
from omnitrace.models.places.base import Medium
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.reference.training.build import build_processor
from omnitrace.sources.token_map import TimeTokens
from omnitrace.testing.families import tiny_family
from omnitrace.testing.families.gemma import gemma3
from omnitrace.testing.requests import request
from tests.helpers import qwen_omni as omni


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gemma3", [omni.audio(omni.noise(1))], "Gemma 3 takes no audio"),
        ("qwen2-audio", [omni.image(60, 60)], "Qwen2-Audio takes no image"),
        ("glm-4.1v", [omni.image(60, 60), omni.video(4, 2.0)], "no image and video in one request"),
        ("audio-flamingo-3", [omni.audio(omni.noise(1))] * 2, "one audio a request"),
    ],
)
def test_media_that_a_family_does_not_take(name: str, content: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        omni.encode(tiny_family(name), *content, "What?")
    assert caught.value.legal or caught.value.fix


def test_sound_of_a_video_for_a_model_that_does_not_listen() -> None:
    adapter = tiny_family("qwen3-vl")
    clip = omni.video(4, 2.0, sound=2.0)
    with pytest.raises(NotSupportedError, match="takes no sound of videos"):
        omni.encode(adapter, clip, "What?", use_audio_in_video=True)
    assert omni.encode(adapter, clip, "What?").generate_options == {}


@pytest.mark.parametrize(
    ("name", "marker"),
    [("qwen3-vl", "<|vision_start|>"), ("gemma3", "<start_of_image>"), ("glm-4.1v", "<|image|>")],
)
def test_markers_of_media_in_a_text(name: str, marker: str) -> None:
    with pytest.raises(InputError) as caught:
        omni.encode(tiny_family(name), omni.image(60, 60), f"What is {marker}?", "Say.")
    assert repr(marker) in str(caught.value)


def test_a_model_with_towers_needs_its_processor() -> None:
    adapter = tiny_family("qwen3-vl")
    with pytest.raises(ModelError, match="needs its processor") as caught:
        ProcessorAdapter(adapter.model, adapter.tokenizer)
    assert "AutoProcessor" in caught.value.legal


def test_a_model_with_towers_and_a_tokenizer_alone_is_a_model_of_text() -> None:
    adapter = tiny_family("qwen3-vl")
    tracer = Tracer(model=adapter.model, processor=adapter.tokenizer, signal="attention-mean")
    parts = [{"type": "text", "text": text} for text in ("The key is blue.", "What is blue?")]
    found = tracer.trace([{"role": "user", "content": parts}], max_new_tokens=3)
    assert [unit.preview for unit in found.units] == ["The key is blue."]
    picture = {"type": "image", "image": np.zeros((60, 60, 3), dtype=np.uint8)}
    with pytest.raises(InputError, match="reads text only") as caught:
        tracer.trace([{"role": "user", "content": [picture, parts[1]]}])
    assert "processor" in caught.value.fix


def test_a_processor_whose_tokenizer_has_no_offsets_is_refused() -> None:
    """As Voxtral's, which mistral-common writes the prompt for."""

    class MistralCommonBackend:
        is_fast = False

    class VoxtralProcessor:
        tokenizer = MistralCommonBackend()

    with pytest.raises(ModelError, match="MistralCommonBackend of VoxtralProcessor cannot say"):
        ProcessorAdapter(tiny_family("qwen2-audio").model, VoxtralProcessor())


def test_a_checkpoint_without_a_processor_is_one_of_text(tmp_path: Path) -> None:
    adapter = tiny_family("gemma3")
    adapter.model.save_pretrained(tmp_path)
    adapter.tokenizer.save_pretrained(tmp_path)
    tracer = Tracer.from_pretrained(str(tmp_path))
    assert type(tracer.adapter) is CausalLMAdapter
    assert tracer.trace(request(("text",)), max_new_tokens=2).token_ids
    with pytest.raises(InputError, match="reads text only"):
        tracer.trace(request(("image",)))


def test_a_loaded_model_and_its_processor() -> None:
    adapter = tiny_family("qwen2.5-vl")
    assert type(adapter_for(adapter.model, adapter.processor)) is ProcessorAdapter


def test_videos_of_different_rates_keep_their_own_times() -> None:
    adapter = tiny_family("qwen2.5-vl")
    encoded = omni.encode(adapter, omni.video(8, 2.0), omni.video(4, 1.0), "What?")
    assert encoded.inputs["second_per_grid_ts"].tolist() == [1.0, 2.0]
    first, second = (omni.of_part(encoded, part)[0] for part in (0, 1))
    assert [sorted(set(tokens.intervals)) for tokens in (first, second)] == [
        [(0, 1), (1, 2), (2, 3), (3, 4)],
        [(0, 2), (2, 4)],
    ]


def test_the_processor_writes_the_true_times() -> None:
    """Qwen3-VL's prompt says when each pair of frames begins; here they are 0.4 s apart."""
    adapter = tiny_family("qwen3-vl")
    encoded = omni.encode(adapter, omni.video(6, 2.5), "What?")
    written = adapter.tokenizer.decode(list(encoded.prompt_ids))
    # The middle of a pair of frames, to a tenth of a second.
    for middle in ("<0.2 seconds>", "<1.0 seconds>", "<1.8 seconds>"):
        assert middle in written
    (tokens,) = omni.of_part(encoded, 0)
    assert sorted(set(tokens.intervals)) == [
        (0, pytest.approx(0.8)),
        (pytest.approx(0.8), pytest.approx(1.6)),
        (pytest.approx(1.6), pytest.approx(2.4)),
    ]


def test_a_template_that_begins_the_text_itself_is_not_begun_twice() -> None:
    model, processor = gemma3()
    processor.tokenizer.bos_token = "<|im_start|>"
    processor.tokenizer.add_bos_token = True
    adapter = ProcessorAdapter(model, processor)
    ids = omni.encode(adapter, omni.image(60, 60), "What?").prompt_ids
    begin = processor.tokenizer.bos_token_id
    assert ids[0] == begin
    assert ids[1] != begin


def test_crops_of_a_wide_image_see_their_own_part() -> None:
    model, processor = gemma3(crops=True)
    adapter = ProcessorAdapter(model, processor)
    (tokens,) = omni.of_part(omni.encode(adapter, omni.image(300, 100), "What?"), 0)
    assert [view.box for view in tokens.overviews] == [
        (0, 0, 100, 100),
        (100, 0, 200, 100),
        (200, 0, 300, 100),
    ]
    showing = tokens.cell_positions()
    assert sorted(p for cell in showing for p in cell) == sorted(
        [*tokens.positions, *(p for view in tokens.overviews for p in view.positions)]
    )


def medium(adapter: ProcessorAdapter, content: Any, **changes: Any) -> Medium:
    """Return what a rule is given for one medium, by listening to it."""
    seen: list[Medium] = []
    kind = "image" if not hasattr(content, "frames") else "video"
    rule = place_of(adapter.processor, kind)

    def listen(given: Medium) -> Any:
        seen.append(given)
        return rule(given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omnitrace.models.processor.place_of", lambda *_: listen)
        omni.encode(adapter, content, "What?")
    return dataclasses.replace(seen[0], **changes)


@pytest.mark.parametrize(
    "name",
    [
        *("qwen2.5-vl", "gemma3", "gemma4", "internvl", "llava-onevision", "idefics3"),
        *("mistral3", "minicpm-v-4.6", "phi-4-multimodal", "kimi-k2.5"),
    ],
)
def test_a_rule_refuses_another_number_of_tokens(name: str) -> None:
    adapter = tiny_family(name)
    given = medium(adapter, omni.image(210, 90))
    rule = place_of(adapter.processor, "image")
    rule(given)
    with pytest.raises(ModelError, match="where its sizes say"):
        rule(dataclasses.replace(given, positions=list(given.positions)[:-1]))


def test_a_video_refuses_another_number_of_tokens() -> None:
    adapter = tiny_family("internvl")
    given = medium(adapter, omni.video(3, 1.0))
    rule = place_of(adapter.processor, "video")
    assert isinstance(rule(given), TimeTokens)
    with pytest.raises(ModelError, match="3 steps in time"):
        rule(dataclasses.replace(given, positions=list(given.positions)[:-1]))


def test_the_second_image_of_minicpm_is_cut_by_its_own_slices() -> None:
    adapter = tiny_family("minicpm-v-4.6")
    encoded = omni.encode(adapter, omni.image(120, 90), omni.image(200, 120), "What?")
    first, second = (omni.of_part(encoded, part)[0] for part in (0, 1))
    assert (first.rows, first.columns, len(first.overviews)) == (2, 2, 0)
    assert (second.rows, second.columns, len(second.overviews)) == (2, 4, 1)


def test_inputs_have_the_models_type_but_times_do_not() -> None:
    adapter = tiny_family("qwen2.5-vl")
    try:
        adapter.model.to(torch.bfloat16)
        encoded = omni.encode(adapter, omni.video(4, 2.0), "What?")
    finally:
        adapter.model.to(torch.float32)
    assert encoded.inputs["pixel_values_videos"].dtype == torch.bfloat16
    assert encoded.inputs["second_per_grid_ts"].dtype == torch.float32
    assert np.isclose(encoded.inputs["second_per_grid_ts"].item(), 1.0)


@pytest.mark.parametrize("name", ["audio-flamingo-3", "internvl", "gemma4"])
def test_a_request_without_media(name: str) -> None:
    encoded = omni.encode(tiny_family(name), "It rains.", "What?")
    assert [len(tokens.positions) for tokens in encoded.geometry] == [9, 5]


def test_a_processor_without_a_chat_template() -> None:
    adapter = tiny_family("qwen3-vl")
    adapter.processor.chat_template = None
    with pytest.raises(ModelError, match="Qwen3VLProcessor of tiny qwen3-vl has no chat template"):
        omni.encode(adapter, omni.image(60, 60), "What?")


def test_a_processor_that_does_not_say_is_refused() -> None:
    """It may be of an unknown family; nothing is guessed."""
    silent = build_processor(omni.small().tokenizer)

    class Silent(type(silent)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            found = super().__call__(*args, **kwargs)
            found.pop("text_replacement_offsets", None)
            return found

    silent.__class__ = Silent
    with pytest.raises(ModelError, match=r"Silent of transformers 5.* does not say") as caught:
        omni.encode(ProcessorAdapter(omni.small().model, silent), omni.image(60, 60), "What?")
    assert "5.23" in caught.value.fix
