"""Grad-SAM without a cache: forward and backward over prompt and response, for every token.

This is how gradients of attention are usually had: eager attention, every layer's full matrix, one
pass over the whole sequence a token. It is done as cheaply as that method allows: parameters are
frozen, the logits of the last position alone are computed, and of each gradient only the last row
is kept.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from common.decoding import eager_bytes
from common.memory import available_bytes
from common.report import BenchmarkError

__all__ = ["MEMORY_FACTOR", "FullPrefix", "full_prefix", "room"]

#: What autograd keeps beside the attention of all layers, as a multiple of it (measured: 1.9).
MEMORY_FACTOR: Final = 2.5


@dataclass(frozen=True, slots=True)
class FullPrefix:
    """Seconds and scores, float32 ``[context]``, of each token."""

    seconds: tuple[float, ...]
    scores: tuple[torch.Tensor, ...]


def room(model: Any, tokens: int) -> str:
    """Say why the method cannot run here with so many tokens; empty where it can."""
    need = eager_bytes(model, tokens) * MEMORY_FACTOR
    free = available_bytes()
    if need <= free:
        return ""
    return (
        f"the full-prefix method at {tokens:,} tokens was left out: it needs about "
        f"{need / 1e9:.0f} GB, {free / 1e9:.0f} GB were free"
    )


def full_prefix(model: Any, prompt: Sequence[int], response: Sequence[int]) -> FullPrefix:
    """Score the tokens of ``response``, each with a pass over all that comes before it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = model.config._attn_implementation
    seconds, scores = [], []
    try:
        model.set_attn_implementation("eager")
        for parameter in trained:
            parameter.requires_grad_(False)
        for step, token_id in enumerate(response):
            ids = torch.tensor([[*prompt, *response[:step]]])
            started = time.perf_counter()
            scores.append(_token(model, ids, token_id))
            seconds.append(time.perf_counter() - started)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        model.set_attn_implementation(before)
    return FullPrefix(tuple(seconds), tuple(scores))


def _token(model: Any, ids: torch.Tensor, token_id: int) -> torch.Tensor:
    embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
    out = model(inputs_embeds=embeddings, use_cache=False, output_attentions=True, logits_to_keep=1)
    products: list[torch.Tensor] = []
    for attention in out.attentions:
        row = attention.detach()[0, :, -1]
        attention.register_hook(functools.partial(_multiply, products, row))
    out.logits[0, -1, token_id].backward()
    if len(products) != len(out.attentions):
        raise BenchmarkError("some layer's attention got no gradient")
    return torch.stack(products).mean(dim=0).float()


def _multiply(products: list[torch.Tensor], row: torch.Tensor, by: torch.Tensor) -> None:
    products.append((row * by[0, :, -1].clamp_min(0)).mean(dim=0))
