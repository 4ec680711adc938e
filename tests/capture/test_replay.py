"""Rows of a finished response, from one pass, equal what eager attention returns for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.replay import ReplayCapture
from tests.helpers.attention_gradients import Inputs
from tests.helpers.tiny_models import FAMILIES, tiny
from tests.helpers.tiny_multimodal_models import FAMILIES as MULTIMODAL
from tests.helpers.tiny_multimodal_models import sharpened

PROMPT = {"input_ids": torch.tensor([[5, 17, 3, 88, 41, 5, 17, 60, 22, 9]])}
PROMPT["attention_mask"] = torch.ones_like(PROMPT["input_ids"])
RESPONSE = [14, 3, 77, 60, 60, 2, 51]


def joined(inputs: Inputs, response: list[int]) -> dict[str, torch.Tensor]:
    """Append all of the response but its last token, which no row belongs to."""
    rest = torch.tensor([response[:-1]], dtype=torch.long)
    given = dict(inputs)
    given["input_ids"] = torch.cat([given["input_ids"], rest], dim=1)
    for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        if name in given:
            given[name] = torch.cat([given[name], torch.full_like(rest, fill)], dim=1)
    return given


def replayed(
    model: Any, inputs: Inputs, response: list[int], block: int
) -> list[list[torch.Tensor]]:
    """Return rows for every token and layer, ``[heads, context]``."""
    modules = attention_modules(model.get_decoder())
    prompt = inputs["input_ids"].shape[1]
    capture = ReplayCapture(range(len(modules)), prompt)
    with torch.no_grad(), tapped(model, modules, capture.taps):
        model(**joined(inputs, response), use_cache=False)
    assert not capture.forgets
    rows: list[list[torch.Tensor]] = []
    while len(rows) < len(response):
        steps = min(block, len(response) - len(rows))
        weights = [layer.weights for layer in capture.rows(steps)]
        means = [layer.mean() for layer in capture.rows(steps)]
        last = prompt + len(rows) + steps - 1
        for layer, mean in zip(weights, means, strict=True):
            assert layer.shape[1:] == (steps, last)
            torch.testing.assert_close(mean, layer.mean(0))
        for step in range(steps):
            context = prompt + len(rows)
            assert not any(layer[:, step, context:].any() for layer in weights)
            rows.append([layer[:, step, :context] for layer in weights])
        capture.drop(steps)
    return rows


def assert_eager(model: Any, inputs: Inputs, response: list[int], tolerance: float = 1e-5) -> None:
    every = [replayed(model, inputs, response, block) for block in (1, 3, 16)]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(**joined(inputs, response), output_attentions=True, use_cache=False)
    first = inputs["input_ids"].shape[1] - 1
    for rows in every:
        for step, layers in enumerate(rows):
            position = first + step
            for ours, full in zip(layers, out.attentions, strict=True):
                theirs = full[0, :, position, : position + 1].float()
                torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_token_and_layer(family: str) -> None:
    """Windows of 6 are shorter than the prompt."""
    assert_eager(tiny(family), PROMPT, RESPONSE)


@pytest.mark.parametrize("family", MULTIMODAL)
def test_multimodal_families(family: str) -> None:
    model, inputs = MULTIMODAL[family]()
    assert_eager(model, inputs, RESPONSE)


@pytest.mark.parametrize("family", ["llama", "mistral-sliding", "gemma2-softcap-eager"])
def test_the_shortest_response_and_prompt(family: str) -> None:
    assert_eager(tiny(family), PROMPT, RESPONSE[:1])
    one = {name: value[:, :1] for name, value in PROMPT.items()}
    assert_eager(tiny(family), one, RESPONSE)


def test_a_softcap_that_sdpa_would_not_apply() -> None:
    config = tf.Gemma2Config(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        attn_logit_softcapping=0.5,
        query_pre_attn_scalar=8,
        pad_token_id=0,
    )
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = sharpened(tf.Gemma2ForCausalLM(config))
    assert_eager(model, PROMPT, RESPONSE)


def test_bf16_rows_agree_within_a_bf16_step() -> None:
    """Eager rounds its rows to bf16 (8 bits of mantissa); ours stay float32."""
    assert_eager(tiny("llama", dtype=torch.bfloat16), PROMPT, RESPONSE, 2e-2)


def test_a_layer_keeps_its_keys_and_the_responses_queries_only() -> None:
    model = tiny("llama")
    modules = attention_modules(model.get_decoder())
    capture = ReplayCapture(range(3), 10)
    with torch.no_grad(), tapped(model, modules, capture.taps):
        model(**joined(PROMPT, RESPONSE), use_cache=False)
    for tap in capture.taps:
        assert tap._query is not None
        assert tap._query.untyped_storage().nbytes() == 4 * 8 * len(RESPONSE) * 4
