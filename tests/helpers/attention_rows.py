"""Rows two ways: captured beside the model's own attention, and returned by eager attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.models.generation import TokenStreamer

Rows = list[list[torch.Tensor]]  # [step][layer] of [batch, heads, context]


def eager_rows(
    model: Any, inputs: Mapping[str, torch.Tensor], new: int, **kwargs: Any
) -> tuple[torch.Tensor, Rows]:
    """Generate with eager attention and its ``output_attentions``."""
    model.set_attn_implementation("eager")
    out = model.generate(
        **inputs,
        max_new_tokens=new,
        do_sample=False,
        output_attentions=True,
        return_dict_in_generate=True,
        **kwargs,
    )
    prompt = inputs["input_ids"].shape[1]
    rows = [[layer[:, :, -1].float() for layer in step] for step in out.attentions]
    return out.sequences[:, prompt:], rows


def captured_rows(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    new: int,
    *,
    block: int,
    deferred: bool = True,
    **kwargs: Any,
) -> tuple[torch.Tensor, Rows]:
    """Generate with capture, reading rows in blocks."""
    batch, prompt = inputs["input_ids"].shape
    modules = attention_modules(model.get_decoder())
    use_cache = kwargs.get("use_cache", True)
    capture = RowCapture(range(len(modules)), prompt, use_cache=use_cache, deferred=deferred)
    rows: Rows = []
    written = 0

    def read(steps: int) -> None:
        per_batch = [list(capture.rows(steps, batch=b)) for b in range(batch)]
        for step in range(steps):
            context = prompt + len(rows)
            layers = [
                torch.stack([per_batch[b][layer].weights[:, step] for b in range(batch)])
                for layer in range(len(modules))
            ]
            assert not any(layer[..., context:].any() for layer in layers)
            rows.append([layer[..., :context] for layer in layers])
        capture.drop(steps)

    def push(_: int) -> None:
        nonlocal written
        written += 1
        if written % batch == 0 and written // batch - len(rows) == block:
            read(block)

    with tapped(model, modules, capture.taps):
        ids = model.generate(
            **inputs, max_new_tokens=new, do_sample=False, streamer=TokenStreamer(push), **kwargs
        )
        if len(rows) < new:
            read(new - len(rows))
    return ids[:, prompt:], rows


def absolute(row: torch.Tensor, context: int) -> torch.Tensor:
    """Put an eager row of a static (longer) or windowed (shorter) cache at absolute positions."""
    if row.shape[-1] >= context:
        return row[..., :context]
    result = row.new_zeros(*row.shape[:-1], context)
    result[..., context - row.shape[-1] :] = row
    return result


def assert_same(found: Rows, expected: Rows, prompt: int, tolerance: float) -> None:
    """Compare all layers and all steps."""
    assert len(found) == len(expected)
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        for layer, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            b = absolute(b, prompt + step)
            assert a.shape == b.shape, (step, layer)
            difference = float((a - b).abs().max())
            assert difference <= tolerance, (step, layer, difference)
