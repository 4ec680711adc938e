"""The loop that the shared path must equal: one whole forward pass a mask, nothing shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from omnitrace import Span
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.types import Layout, SourceUnit, TextRange
from tests.helpers.tiny_models import tiny

PROMPT = [(7 * i) % 83 + 5 for i in range(44)]
RESPONSE = [40, 41, 42, 43, 44, 45, 46]
# Of different sizes, one in two pieces, with instruction and template before, between and behind.
UNITS = ((2, 3), (4, 5, 6, 7, 8), (10, 11, 12), (13, 30), (20, 21, 22, 23), (37, 38, 39, 40, 41))
SPANS = (
    Span(0, "", 0, 0, 0, 3, 0.0, (), True),
    Span(1, "", 0, 0, 3, 7, 0.0, (), True),
)


def layout(units: tuple[tuple[int, ...], ...] = UNITS) -> Layout:
    unit_index = np.full(len(PROMPT), -1, dtype=np.int32)
    kinds = np.zeros(len(PROMPT), dtype=np.uint8)
    for number, positions in enumerate(units):
        unit_index[list(positions)] = number
        kinds[list(positions)] = 2
    made = tuple(
        SourceUnit(f"u{number}", "text", TextRange(0, 0, number, number + 1), positions)
        for number, positions in enumerate(units)
    )
    return Layout(kinds, unit_index, made)


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.tensor([PROMPT + RESPONSE[:-1]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def span_of_all(made: ResponseScorer) -> Span:
    """Return one span of the whole response."""
    return Span(0, "", 0, 0, 0, made.tokens, 0.0, (), True)


def scorer(model: Any, units: Any = UNITS, **options: Any) -> ResponseScorer:
    return ResponseScorer(
        CausalLMAdapter(model, None), inputs(), layout(units), RESPONSE, **options
    )


def family(name: str, dtype: torch.dtype = torch.float32) -> ResponseScorer:
    return scorer(tiny(name, dtype=dtype))


def drawn(count: int, units: int = len(UNITS), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, units)) < 0.6


def of_response(logits: torch.Tensor, response: Any = RESPONSE) -> torch.Tensor:
    logprobs = logits[0, -len(response) :].float().log_softmax(dim=-1)
    return logprobs[torch.arange(len(response)), torch.tensor(list(response))]


def by_attention(made: ResponseScorer, masks: np.ndarray) -> np.ndarray:
    """Hide the units by the model's own padding mask, one pass a mask, positions given."""
    found = []
    for mask in masks:
        visible = kept(made, mask).long()[None]
        positions = made.positions.clone()
        positions = positions[None] if positions.dim() == 1 else positions[:, None]
        with torch.no_grad():
            output = made.model(
                inputs_embeds=made.embeddings.to(made.dtype),
                attention_mask=visible,
                position_ids=positions,
                use_cache=False,
            )
        found.append(of_response(output.logits, made.response))
    return torch.stack(found).numpy()


def by_mean(made: ResponseScorer, masks: np.ndarray) -> np.ndarray:
    """Replace the units' embeddings, one pass a mask."""
    return torch.cat(
        [made.logprobs(made.masked(torch.from_numpy(mask[None]))) for mask in masks]
    ).numpy()


def kept(made: ResponseScorer, mask: np.ndarray) -> torch.Tensor:
    """Return bool ``[N]``: the positions that a mask leaves."""
    left = torch.ones(made.embeddings.shape[1], dtype=torch.bool)
    for unit, keep in zip(made.source_units, mask, strict=True):
        if not keep:
            left[list(unit.positions)] = False
    return left
