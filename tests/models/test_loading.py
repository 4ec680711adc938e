"""Models that are not there, not whole or not known: always a ModelError, and quickly."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from transformers import (
    BertConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2_5OmniConfig,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging

from omnitrace.errors import ModelError
from omnitrace.models.base import LoadOptions
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.models.loading import adapter_entry, adapter_for, load_adapter, without_bars
from omnitrace.models.processor import ProcessorAdapter
from tests.helpers import qwen_omni as omni
from tests.helpers import smollm2


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny text model with the reference tokenizer, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("text-model")
    tokenizer = omni.small().tokenizer
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(text_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(text_model, tmp_path / "copy"))


def refused(name: Any, **options: Any) -> ModelError:
    """Load what cannot be loaded; the error must be ours, readable and complete."""
    with pytest.raises(ModelError) as caught:
        load_adapter(str(name), LoadOptions(**options))
    said = str(caught.value)
    assert Path(str(name)).name in said
    assert caught.value.legal
    assert "Traceback" not in said
    assert "Error(" not in said
    assert "\n" not in said
    return caught.value


def test_a_text_model_is_loaded_by_the_adapter_of_its_configuration(text_model: Path):
    adapter = load_adapter(str(text_model), LoadOptions(dtype="float32", revision="main"))
    assert type(adapter) is CausalLMAdapter
    assert adapter.source == str(text_model)
    assert adapter.revision == "main"
    assert not adapter.model.training
    assert adapter.max_context == 64
    assert adapter.tokenizer is adapter.processor
    assert adapter.decoder is adapter.model.model


def test_the_thinker_is_loaded_by_its_own_adapter(tmp_path: Path):
    adapter = omni.small()
    adapter.model.save_pretrained(tmp_path)
    adapter.processor.save_pretrained(tmp_path)
    loaded = load_adapter(str(tmp_path), LoadOptions(device="cpu", attn_implementation="sdpa"))
    assert type(loaded) is ProcessorAdapter
    assert loaded.tokenizer is loaded.processor.tokenizer
    content = [omni.image(60, 80), omni.video(4, 2.0, sound=2.0), "What is it?"]
    assert omni.encode(loaded, *content).prompt_ids == omni.encode(adapter, *content).prompt_ids


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (LlamaConfig(), "causal_lm"),
        (BertConfig(), "causal_lm"),
        (Qwen2_5OmniConfig(), "processor"),
        (omni.small().model.config, "processor"),
    ],
)
def test_the_registry_chooses_by_the_configurations_class(config: Any, name: str):
    entry = adapter_entry(config)
    assert entry.name == name
    assert entry.factory().name == name


def test_no_bars_are_shown_while_weights_are_loaded(
    text_model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(logging, "_tqdm_active", True)  # the command line switches them off

    def shown(load: Callable[[], object]) -> str:
        load()
        return capfd.readouterr().err

    def by_transformers() -> object:
        return LlamaForCausalLM.from_pretrained(text_model)

    assert "Loading weights" in shown(by_transformers)
    assert shown(lambda: load_adapter(str(text_model), LoadOptions())) == ""
    assert "Loading weights" in shown(by_transformers)  # what the user has set stands again


def test_no_bar_is_shown_while_a_gguf_file_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    shown = modeling_gguf_pytorch_utils.tqdm
    with without_bars(), without_bars():
        assert list(modeling_gguf_pytorch_utils.tqdm(range(3), desc="tensors")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    assert modeling_gguf_pytorch_utils.tqdm is shown
    list(shown(range(3), desc="tensors"))
    assert "tensors" in capsys.readouterr().err


def test_a_users_own_hook_for_bars_is_kept(text_model: Path):
    seen: list[str] = []

    def hook(bar: Callable[..., Any], args: Any, options: Any) -> Any:
        seen.append(options.get("desc", ""))
        return bar(*args, **{**options, "disable": True})

    assert logging.set_tqdm_hook(hook) is None
    try:
        load_adapter(str(text_model), LoadOptions())
    finally:
        assert logging.set_tqdm_hook(None) is hook
    assert "Loading weights" in seen


def test_two_loads_at_once_leave_no_hook_behind():
    one, other = without_bars(), without_bars()
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(one)
        second.enter_context(other)
        first.close()
        second.close()
    assert logging.set_tqdm_hook(None) is None


def test_a_model_that_the_user_has_loaded():
    adapter = adapter_for(omni.small().model, omni.small().processor)
    assert type(adapter) is ProcessorAdapter
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
        )
    )
    text = adapter_for(model, omni.small().tokenizer)
    assert type(text) is CausalLMAdapter
    assert text.source == "LlamaForCausalLM"


@pytest.mark.parametrize("name", ["./nothing-here", "~/nothing-here", "a/b/nothing-here"])
def test_a_missing_folder(name: str):
    assert "there is no model folder" in refused(name).found


def test_a_missing_absolute_folder(tmp_path: Path):
    error = refused(tmp_path / "nothing-here")
    assert "there is no model folder" in error.found
    assert "a hub id" in error.legal


def test_a_file_that_is_no_model(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("no model")
    assert "there is no model folder" in refused(tmp_path / "notes.txt").found


def test_an_empty_folder(tmp_path: Path):
    error = refused(tmp_path)
    assert "has no config.json" in error.found
    assert "save_pretrained" in error.legal


def test_a_folder_without_configuration(copy: Path):
    (copy / "config.json").unlink()
    assert "has no config.json" in refused(copy).found


def test_a_folder_without_weights(copy: Path):
    (copy / "model.safetensors").unlink()
    error = refused(copy)
    assert "has no weights" in error.found
    assert "safetensors" in error.legal
    assert "copy the weights" in error.fix


def test_a_folder_without_tokenizer(copy: Path):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    refused(copy)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 64, None], ids=repr)
def test_corrupt_weights(copy: Path, content: bytes | None):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-999] if content is None else content)
    refused(copy)


def test_weights_of_another_shape(copy: Path):
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 16', '"hidden_size": 32'))
    refused(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model_type": "no-such-model"}'])
def test_a_corrupt_configuration(copy: Path, content: str):
    (copy / "config.json").write_text(content)
    refused(copy)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_corrupt_tokenizer(copy: Path, content: str):
    (copy / "tokenizer.json").write_text(content)
    refused(copy)


def test_a_missing_gguf_file(tmp_path: Path):
    error = refused(tmp_path / "x.gguf")
    assert "there is no file" in error.found
    assert "GGUF" in error.legal


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 9, b"GGUF\3\0\0\0" * 9])
def test_a_corrupt_gguf_file(tmp_path: Path, content: bytes):
    (tmp_path / "x.gguf").write_bytes(content)
    refused(tmp_path / "x.gguf")


def test_a_truncated_gguf_file(tmp_path: Path):
    with (smollm2.folder() / smollm2.FILE).open("rb") as file:
        (tmp_path / "x.gguf").write_bytes(file.read(100_000))
    refused(tmp_path / "x.gguf")


@pytest.mark.parametrize("name", ["no-such-owner/no-such-model", "no-such-model", "not a name!"])
def test_an_unknown_hub_id_without_network(name: str, monkeypatch: pytest.MonkeyPatch):
    # What HF_HUB_OFFLINE=1 sets; the variable itself is read once, when the hub is imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    before = time.monotonic()
    error = refused(name)
    assert time.monotonic() - before < 10
    assert f"cannot load the model {name!r}" in error.found
    assert "check the name, the network" in error.fix
