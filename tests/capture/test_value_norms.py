"""Value norms equal the length of ``W_O^h v``, head by head, however the model is run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.replay import ReplayCapture
from omnitrace.errors import ModelError
from omnitrace.models.generation import TokenStreamer
from tests.helpers.adapted_projection import Adapted
from tests.helpers.tiny_models import PROMPT, tiny
from tests.helpers.tiny_multimodal_models import qwen2_5_omni, sharpened
from tests.helpers.value_norms import explicit

NEW = 5


def every_head_its_own() -> Any:
    config = tf.LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return sharpened(tf.LlamaForCausalLM(config))


def gpt2() -> Any:
    config = tf.GPT2Config(
        vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64, eos_token_id=None
    )
    torch.manual_seed(0)
    return sharpened(tf.GPT2LMHeadModel(config))


MODELS = {
    "llama": every_head_its_own,
    "grouped": lambda: tiny("llama"),
    "sliding": lambda: tiny("mistral-sliding"),
    "gpt2": gpt2,
}


def live(
    model: Any, inputs: dict[str, torch.Tensor], block: int, **kwargs: Any
) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
    """Generate; return all ids and, for each block that was read, every layer's norms."""
    modules = attention_modules(model.get_decoder())
    capture = RowCapture(
        range(len(modules)),
        inputs["input_ids"].shape[1],
        use_cache=kwargs.get("use_cache", True),
        deferred="cache_implementation" not in kwargs,
        values=True,
    )
    read: list[list[torch.Tensor]] = []
    written = 0

    def push(_: int) -> None:
        nonlocal written
        written += 1
        if written == block:
            read.append([layer.value_norms.clone() for layer in capture.rows(block)])
            capture.drop(block)
            written = 0

    with tapped(model, modules, capture.taps):
        ids = model.generate(
            **inputs,
            max_new_tokens=NEW,
            do_sample=False,
            streamer=TokenStreamer(push),
            **kwargs,
        )
    return ids, read


def assert_norms(
    read: list[list[torch.Tensor]], expected: list[torch.Tensor], contexts: list[int]
) -> None:
    assert len(read) == len(contexts)
    for context, layers in zip(contexts, read, strict=True):
        for ours, theirs in zip(layers, expected, strict=True):
            assert ours.shape == (theirs.shape[0], context)
            torch.testing.assert_close(ours, theirs[:, :context], rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"cache_implementation": "static"},
        {"prefill_chunk_size": 3},
        {"use_cache": False},
    ],
    ids=["cache", "static cache", "chunked prefill", "no cache"],
)
@pytest.mark.parametrize("name", MODELS)
def test_live(name: str, kwargs: dict[str, Any]) -> None:
    model = MODELS[name]()
    for block in (1, NEW):
        ids, read = live(model, PROMPT, block, **kwargs)
        contexts = list(range(10, 10 + NEW)) if block == 1 else [10 + NEW - 1]
        assert_norms(read, explicit(model, PROMPT, ids), contexts)


def test_live_omni() -> None:
    model, inputs = qwen2_5_omni()
    prompt = inputs["input_ids"].shape[1]
    ids, read = live(model, inputs, NEW)
    assert_norms(read, explicit(model, inputs, ids), [prompt + NEW - 1])


@pytest.mark.parametrize("name", MODELS)
def test_replay(name: str) -> None:
    model = MODELS[name]()
    ids = model.generate(**PROMPT, max_new_tokens=NEW, do_sample=False)
    modules = attention_modules(model.get_decoder())
    capture = ReplayCapture(range(len(modules)), 10, values=True)
    with torch.no_grad(), tapped(model, modules, capture.taps):
        model(input_ids=ids[:, :-1], use_cache=False)
    read = []
    for steps in (2, NEW - 2):
        read.append([layer.value_norms for layer in capture.rows(steps)])
        capture.drop(steps)
    assert_norms(read, explicit(model, PROMPT, ids), [11, 10 + NEW - 1])


class Packed(nn.Module):
    """A projection whose weight is codes, as quantised layers have it."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(32, 32).to(dtype))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_quantised_projection_is_refused(dtype: torch.dtype) -> None:
    model = tiny("llama")
    model.model.layers[1].self_attn.o_proj = Packed(dtype)
    with pytest.raises(ModelError, match="LlamaAttention has no output projection"):
        live(model, PROMPT, 1)


def test_a_projection_of_another_name_is_refused() -> None:
    attention = nn.Module()
    attention.weird_proj = nn.Linear(32, 32)
    from omnitrace.capture.value_norms import _gram

    with pytest.raises(ModelError, match="an unquantised linear layer named o_proj"):
        _gram(attention, 4, 8)


def test_the_delta_of_an_adapter_counts() -> None:
    model = MODELS["grouped"]()
    torch.manual_seed(1)
    for module in attention_modules(model.get_decoder()):
        module.o_proj = Adapted(module.o_proj)
        module.v_proj = Adapted(module.v_proj)
    ids, read = live(model.eval(), PROMPT, NEW)
    with torch.no_grad():
        for module in attention_modules(model.get_decoder()):
            for name in ("o_proj", "v_proj"):
                found = getattr(module, name)
                found.base_layer.weight += 16 * found.up.weight @ found.down.weight
                setattr(module, name, found.base_layer)
    assert_norms(read, explicit(model, PROMPT, ids), [10 + NEW - 1])
