"""MiniCPM-o on a tiny model with its interface: contract, rows, scores, maps, loading."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import Tracer
from omnitrace.errors import InputError, MediaError, ModelError, NotSupportedError
from omnitrace.models.base import LoadOptions
from omnitrace.models.loading import adapter_for, load_adapter
from omnitrace.models.minicpm_o import MiniCPMOAdapter
from omnitrace.models.minicpm_o_code import as_in_version_4
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import GridTokens, TimeTokens
from omnitrace.testing import check_adapter
from omnitrace.testing.causal_maps import audio_places, image_places, video_places
from omnitrace.testing.families.minicpm_o import minicpm_o
from omnitrace.testing.requests import request
from omnitrace.types import ImageRegion, Modality
from tests.helpers.attention_rows import captured_rows, eager_rows

ALL: tuple[Modality, ...] = ("text", "image", "audio", "video")
MODEL, PROCESSOR = minicpm_o()
ADAPTER = MiniCPMOAdapter(MODEL, PROCESSOR)
NEW = 6


def picture(width: int = 200, height: int = 120) -> np.ndarray:
    found: np.ndarray = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return found


def asked(*parts: dict[str, Any], text: str = "What?") -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def noise(seconds: float) -> dict[str, Any]:
    samples = 0.1 * np.random.default_rng(1).normal(size=int(16_000 * seconds))
    return {"type": "audio", "audio": (samples.astype(np.float32), 16_000)}


def tracer(signal: str = "attention-mean", adapter: MiniCPMOAdapter = ADAPTER) -> Tracer:
    return Tracer(adapter=adapter, signal=signal)


def encoded(messages: list[dict[str, Any]], adapter: MiniCPMOAdapter = ADAPTER) -> Any:
    return adapter.encode(tracer(adapter=adapter).read(messages), SourceOptions())


def own_inputs(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the model's own ``chat`` would hand to its ``generate``."""
    contents = [
        {"image": "<image>./</image>", "audio": "<audio>./</audio>"}.get(
            part["type"], part.get("text")
        )
        for part in messages[0]["content"]
    ]
    conversation = tracer().read(messages)
    prompt = PROCESSOR.tokenizer.apply_chat_template(
        [{"role": "user", "content": "\n".join(contents)}],
        tokenize=False,
        add_generation_prompt=True,
        use_tts_template=True,
        enable_thinking=False,
    )
    images = [[part.media.pixels for part in conversation.media("image")]]  # type: ignore[union-attr]
    audios = [[part.media.samples for part in conversation.media("audio")]]  # type: ignore[union-attr]
    output = PROCESSOR([prompt], images, audios)
    output.pop("image_sizes")
    return {**output, "tokenizer": PROCESSOR.tokenizer}


@pytest.mark.parametrize("modalities", [("text",), ("text", "image", "audio"), ALL])
def test_the_adapter_keeps_its_contract(modalities: tuple[Modality, ...]):
    check_adapter(ADAPTER, modalities)


def test_it_writes_what_the_checkpoint_writes_by_itself():
    messages = request(("text", "image", "audio"))
    with as_in_version_4(MODEL.apm):
        _, outputs = MODEL.generate(**own_inputs(messages), max_new_tokens=NEW, do_sample=False)
    trace = tracer().trace(messages, max_new_tokens=NEW)
    assert list(trace.token_ids) == outputs.sequences[0].tolist()


def test_rows_are_those_of_eager_attention():
    inputs = encoded(asked({"type": "image", "image": picture()}, noise(1.3))).inputs
    model = ADAPTER.model
    written, rows = captured_rows(model, inputs, NEW, block=4)
    adapter = MiniCPMOAdapter(*minicpm_o())
    expected, eager = eager_rows(adapter.model, inputs, NEW)
    assert torch.equal(written, expected)
    for step, other in zip(rows, eager, strict=True):
        for layer, row in zip(step, other, strict=True):
            assert torch.allclose(layer, row, atol=2e-5)


@pytest.mark.parametrize("signal", ["attention-mean", "value-attention", "grad-sam"])
def test_replay_equals_live(signal: str):
    messages = request(ALL)
    live = tracer(signal).trace(messages, max_new_tokens=NEW)
    replayed = tracer(signal).replay(messages, list(live.token_ids))
    assert live.layout.units == replayed.layout.units
    assert np.allclose(live.scores, replayed.scores, atol=1e-5 * live.scores.max())


def test_the_scorer_without_ablation_is_the_models_own():
    messages = request(("text", "image", "audio"))
    inputs = own_inputs(messages)
    response = [40, 50, 60, 70]
    scorer = tracer().scorer(messages, response)
    with torch.no_grad(), as_in_version_4(MODEL.apm):
        embeddings, _ = MODEL.get_vllm_embedding(inputs)
        embeddings = MODEL.get_omni_embedding(inputs, embeddings, chunk_length=1.0)
        written = MODEL.llm.model.embed_tokens(torch.tensor([response[:-1]]))
        logits = MODEL.llm(inputs_embeds=torch.cat([embeddings, written], dim=1)).logits
    own = logits[0, -len(response) :].log_softmax(-1)
    expected = own[torch.arange(len(response)), response]
    assert np.allclose(scorer.full, expected.numpy(), atol=1e-4)


def test_a_slice_changes_its_own_tokens_alone_and_the_overview():
    pixels = np.full((120, 200, 3), 128, np.uint8)
    messages = asked({"type": "image", "image": pixels})
    (tokens,) = (t for t in encoded(messages).geometry if isinstance(t, GridTokens))
    showing = tokens.cell_positions()
    assert tokens.rows * tokens.columns > 3
    assert len(tokens.everywhere) == PROCESSOR.image_processor.image_feature_size
    width = PROCESSOR.image_processor.image_feature_size
    assert all(len(cell) == width for cell in showing)
    before = _fed(messages)
    for cell, own in enumerate(showing):
        x0, y0, x1, y1 = (round(edge) for edge in tokens.cell(cell))
        changed = pixels.copy()
        changed[y0 + 8 : y1 - 8, x0 + 8 : x1 - 8] = 255
        apart = (_fed(asked({"type": "image", "image": changed})) - before).norm(dim=-1)
        found = set(torch.nonzero(apart > 1e-5)[:, 0].tolist())
        assert found == {*own, *tokens.everywhere}


def _fed(messages: list[dict[str, Any]]) -> torch.Tensor:
    inputs = encoded(messages).inputs
    media = {name: value for name, value in inputs.items() if name != "attention_mask"}
    seen: list[torch.Tensor] = []

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["inputs_embeds"][0])

    handle = MODEL.llm.model.register_forward_pre_hook(before, with_kwargs=True)
    with torch.no_grad():
        ADAPTER.model(**media)
    handle.remove()
    return seen[0]


def test_tokens_lie_where_the_map_says():
    fine, _ = image_places(ADAPTER, 16)
    assert fine.exact == fine.total == 16, fine.first_miss
    heard = audio_places(ADAPTER, 12)
    assert heard.exact == heard.total == 12, heard.first_miss
    seen = video_places(ADAPTER, 6)
    assert seen.exact == seen.total == 6, seen.first_miss


def test_units_are_the_overview_and_the_slices():
    trace = tracer().trace(asked({"type": "image", "image": picture()}), max_new_tokens=1)
    units = [unit for unit in trace.units if unit.modality == "image"]
    grids = {unit.locator.grid for unit in units if isinstance(unit.locator, ImageRegion)}
    ((rows, columns),) = grids
    assert len(units) == 1 + rows * columns
    assert isinstance(units[0].locator, ImageRegion)
    assert units[0].locator.box == (0, 0, 200, 120)


def test_a_small_image_is_one_unit_and_so_are_those_beside_a_video():
    small = {"type": "image", "image": picture(40, 30)}
    trace = tracer().trace(asked(small), max_new_tokens=1)
    assert [unit.modality for unit in trace.units] == ["image"]
    frames = np.zeros((3, 40, 40, 3), np.uint8)
    video = {"type": "video", "video": (frames, 1.0)}
    trace = tracer().trace(asked({"type": "image", "image": picture()}, video), max_new_tokens=1)
    assert sum(unit.modality == "image" for unit in trace.units) == 1


def test_long_audio_is_heard_in_windows_of_30_s():
    messages = asked(noise(31.05))
    (tokens,) = (t for t in encoded(messages).geometry if isinstance(t, TimeTokens))
    assert len(tokens.positions) == 310
    assert tokens.intervals[300] == (30.0, 30.1)
    assert tokens.intervals[-1] == (30.9, 31.0)
    assert tracer().trace(messages, max_new_tokens=1).token_ids
    adapter = MiniCPMOAdapter(*minicpm_o(stream_input=False))
    check_adapter(adapter, ("text", "image", "audio"))
    with pytest.raises(MediaError, match=r"lasts 31\.1 s, longer than the 30 s"):
        encoded(messages, adapter)


def test_several_audios_keep_their_own_tokens():
    found = encoded(asked(noise(0.73), noise(2.1)))
    first, second = (t for t in found.geometry if isinstance(t, TimeTokens))
    assert (len(first.positions), len(second.positions)) == (7, 21)
    assert set(first.positions).isdisjoint(second.positions)
    assert second.intervals[0] == (0.0, 0.1)


def test_the_models_own_markers_are_refused_in_texts():
    for marker in ("<image>./</image>", "</slice>", "<|audio_end|>", "<|listen|>"):
        with pytest.raises(InputError, match="reserved token"):
            encoded(asked(text=f"What is {marker}?"))


def test_a_prompt_that_is_read_in_pieces_is_refused():
    inputs = encoded(asked(noise(2.0))).inputs
    with pytest.raises(NotSupportedError, match="read in pieces"):
        ADAPTER.model.generate(**inputs, max_new_tokens=2, prefill_chunk_size=16)


def test_all_who_drive_a_checkpoint_share_one_model():
    other = adapter_for(MODEL, PROCESSOR)
    assert type(other) is MiniCPMOAdapter
    assert other.model is ADAPTER.model
    assert other.decoder is MODEL.llm.model
    assert MiniCPMOAdapter(ADAPTER.model, PROCESSOR).model is ADAPTER.model


def test_what_is_no_minicpm_o_is_refused():
    with pytest.raises(ModelError, match="TokenizersBackend has no tokenizer"):
        MiniCPMOAdapter(MODEL, copy.copy(PROCESSOR.tokenizer))
    with pytest.raises(ModelError, match="no llm"):
        MiniCPMOAdapter(MODEL.llm, PROCESSOR)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as on a hub: weights, a configuration, and the code that they need."""
    folder = tmp_path_factory.mktemp("minicpm-o")
    model, processor = minicpm_o()
    model.config.auto_map = {
        "AutoConfig": "code_minicpmo.MiniCPMOConfig",
        "AutoModel": "code_minicpmo.MiniCPMO",
        "AutoProcessor": "code_minicpmo.MiniCPMOProcessor",
    }
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    code = "from omnitrace.testing.families.minicpm_o import MiniCPMO, MiniCPMOConfig\n"
    code += "from omnitrace.testing.families.minicpm_o_processor import MiniCPMOProcessor\n"
    (folder / "code_minicpmo.py").write_text(code)
    return folder


def test_code_of_a_checkpoint_is_run_only_if_the_user_asks(checkpoint: Path):
    with pytest.raises(ModelError, match="comes with code of its own") as caught:
        load_adapter(str(checkpoint), LoadOptions())
    assert "trust_remote_code=True" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_loaded_with_its_own_code(checkpoint: Path):
    loaded = Tracer.from_pretrained(
        str(checkpoint), signal="attention-mean", trust_remote_code=True
    )
    assert type(loaded.adapter) is MiniCPMOAdapter
    assert loaded.adapter.source == str(checkpoint)
    assert not loaded.adapter.model.config.init_tts
    messages = request(ALL)
    found = loaded.trace(messages, max_new_tokens=NEW)
    expected = tracer().trace(messages, max_new_tokens=NEW)
    assert found.token_ids == expected.token_ids
    assert found.layout.units == expected.layout.units
    with pytest.raises(ModelError, match="no GGUF file"):
        MiniCPMOAdapter.load(str(checkpoint), LoadOptions(gguf_file="model.gguf"))
