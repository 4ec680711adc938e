"""Rows captured beside SDPA equal what eager attention returns, at every layer and step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from omnitrace.capture.interface import attention_modules, tapped
from omnitrace.capture.rows import RowCapture, attention_rows
from omnitrace.generation import TokenStreamer
from tests.capture.tiny import FAMILIES, tiny

NEW = 12
PROMPT = 10


def prompt(batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 96, (batch, PROMPT), generator=generator)
    mask = torch.ones_like(ids)
    if batch > 1:
        ids[0, :4], mask[0, :4] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def eager_rows(model: Any, batch: int, **kwargs: Any) -> tuple[torch.Tensor, list]:
    model.set_attn_implementation("eager")
    out = model.generate(
        **prompt(batch),
        max_new_tokens=NEW,
        do_sample=False,
        output_attentions=True,
        return_dict_in_generate=True,
        **kwargs,
    )
    return out.sequences[:, PROMPT:], [
        [layer[:, :, -1].float() for layer in step] for step in out.attentions
    ]


def captured_rows(
    model: Any, batch: int, *, block: int, deferred: bool = True, **kwargs: Any
) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
    """Generate with capture; return ids and rows[step][layer] of [batch, heads, context]."""
    modules = attention_modules(model.get_decoder())
    use_cache = kwargs.get("use_cache", True)
    capture = RowCapture(range(len(modules)), PROMPT, use_cache=use_cache, deferred=deferred)
    rows: list[list[torch.Tensor]] = []
    written = 0

    def read(steps: int) -> None:
        per_batch = [list(capture.rows(steps, batch=b)) for b in range(batch)]
        for step in range(steps):
            context = PROMPT + len(rows)
            rows.append(
                [
                    torch.stack([per_batch[b][layer].weights[:, step] for b in range(batch)])
                    for layer in range(len(modules))
                ]
            )
            for layer in rows[-1]:
                assert torch.all(layer[..., context:] == 0)
            rows[-1] = [layer[..., :context] for layer in rows[-1]]
        capture.drop(steps)

    def push(_: int) -> None:
        nonlocal written
        written += 1
        if written % batch == 0 and written // batch - len(rows) == block:
            read(block)

    with tapped(model, modules, capture.taps):
        ids = model.generate(
            **prompt(batch),
            max_new_tokens=NEW,
            do_sample=False,
            streamer=TokenStreamer(push),
            **kwargs,
        )
        if len(rows) < NEW:
            read(NEW - len(rows))
    return ids[:, PROMPT:], rows


def absolute(row: torch.Tensor, context: int) -> torch.Tensor:
    """Put an eager row of a static (longer) or windowed (shorter) cache at absolute positions."""
    if row.shape[-1] >= context:
        return row[..., :context]
    result = row.new_zeros(*row.shape[:-1], context)
    result[..., context - row.shape[-1] :] = row
    return result


def assert_same(found: list, expected: list, tolerance: float) -> None:
    assert len(found) == len(expected) == NEW
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        for layer, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            b = absolute(b, PROMPT + step)
            assert a.shape == b.shape, (step, layer)
            difference = float((a - b).abs().max())
            assert difference <= tolerance, (step, layer, difference)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("block", [1, 5, 12])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_rows_equal_eager_at_every_layer_and_step(family: str, block: int, batch: int) -> None:
    ids, rows = captured_rows(tiny(family), batch, block=block)
    eager_ids, expected = eager_rows(tiny(family), batch)
    assert torch.equal(ids, eager_ids)
    assert_same(rows, expected, 1e-5)


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
    _, rows = captured_rows(model, 1, block=4, deferred=deferred, **kwargs)
    _, expected = eager_rows(tiny(family), 1)
    assert_same(rows, expected, 1e-5)


def test_bf16_rows_agree_within_a_bf16_step() -> None:
    """Eager rounds its rows to bf16 (8 bits of mantissa); ours stay float32."""
    model = tiny("llama", dtype=torch.bfloat16)
    ids, rows = captured_rows(model, 1, block=4)
    eager_ids, expected = eager_rows(tiny("llama", dtype=torch.bfloat16), 1)
    assert torch.equal(ids, eager_ids)
    assert_same(rows, expected, 2e-2)
    assert all(abs(float(layer.sum(-1).max()) - 1) < 1e-4 for step in rows for layer in step)


def test_the_first_token_uses_the_last_prompt_row_only() -> None:
    model = tiny("llama")
    _, rows = captured_rows(model, 1, block=4)
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
