"""Rows captured beside SDPA equal what eager attention returns, at every layer and step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.attention_rows import attention_rows
from omnitrace.capture.decode import RowCapture
from tests.helpers.attention_rows import assert_same, captured_rows, eager_rows
from tests.helpers.tiny_models import FAMILIES, tiny

NEW = 12
PROMPT = 10


def prompt(batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 96, (batch, PROMPT), generator=generator)
    mask = torch.ones_like(ids)
    if batch > 1:
        ids[0, :4], mask[0, :4] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("block", [1, 5, 12])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_rows_equal_eager_at_every_layer_and_step(family: str, block: int, batch: int) -> None:
    ids, rows = captured_rows(tiny(family), prompt(batch), NEW, block=block)
    eager_ids, expected = eager_rows(tiny(family), prompt(batch), NEW)
    assert torch.equal(ids, eager_ids)
    assert_same(rows, expected, PROMPT, 1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral-sliding"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"cache_implementation": "static"},
        {"prefill_chunk_size": 3},
        {"use_cache": False},
    ],
    ids=["static cache", "chunked prefill", "no cache"],
)
def test_other_ways_to_run_the_cache(family: str, kwargs: dict[str, Any]) -> None:
    model = tiny(family)
    deferred = "cache_implementation" not in kwargs
    _, rows = captured_rows(model, prompt(1), NEW, block=4, deferred=deferred, **kwargs)
    _, expected = eager_rows(tiny(family), prompt(1), NEW)
    assert_same(rows, expected, PROMPT, 1e-5)


def test_bf16_rows_agree_within_a_bf16_step() -> None:
    """Eager rounds its rows to bf16 (8 bits of mantissa); ours stay float32."""
    model = tiny("llama", dtype=torch.bfloat16)
    ids, rows = captured_rows(model, prompt(1), NEW, block=4)
    eager_ids, expected = eager_rows(tiny("llama", dtype=torch.bfloat16), prompt(1), NEW)
    assert torch.equal(ids, eager_ids)
    assert_same(rows, expected, PROMPT, 2e-2)
    assert all(abs(float(layer.sum(-1).max()) - 1) < 1e-4 for step in rows for layer in step)


def test_the_first_token_uses_the_last_prompt_row_only() -> None:
    model = tiny("llama")
    _, rows = captured_rows(model, prompt(1), NEW, block=4)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = model(**prompt(1), output_attentions=True).attentions
    for ours, full in zip(rows[0], attentions, strict=True):
        torch.testing.assert_close(ours, full[:, :, -1], atol=1e-6, rtol=0)


def test_sinks_and_softcap_match_a_plain_softmax() -> None:
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(1, 4, 2, 8, generator=generator)
    key = torch.randn(1, 2, 7, 8, generator=generator)
    sinks = torch.randn(4, generator=generator)
    rows = attention_rows(query, key, scale=0.5, visible=[6, 7], softcap=3.0, sinks=sinks)
    logits = torch.einsum("bhqd,bhkd->bhqk", query, key.repeat_interleave(2, dim=1)) * 0.5
    logits = 3.0 * torch.tanh(logits / 3.0)
    logits[:, :, 0, 6] = -torch.inf
    with_sink = torch.cat([logits, sinks.view(1, 4, 1, 1).expand(1, 4, 2, 1)], dim=-1)
    torch.testing.assert_close(rows, with_sink.softmax(-1)[..., :-1])
    assert float(rows.sum(-1).max()) < 1


def test_the_prompts_queries_are_not_kept_alive() -> None:
    model = tiny("llama")
    modules = attention_modules(model.get_decoder())
    capture = RowCapture(range(len(modules)), PROMPT)
    with tapped(model, modules, capture.taps), torch.no_grad():
        model(**prompt(1))
    for tap in capture.taps:
        assert tap.steps[0].query is not None
        assert tap.steps[0].query.untyped_storage().nbytes() == 4 * 8 * 4
