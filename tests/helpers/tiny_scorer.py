"""A response scorer of a tiny model, for a prompt of nine tokens with three units."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from omnitrace import Span
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.types import Layout, SourceUnit, TextRange

PROMPT = [7, 8, 9, 20, 21, 22, 23, 30, 31]
RESPONSE = [40, 41, 42, 43, 44]
UNITS = {"a": (1, 2), "b": (3, 4, 5), "c": (7,)}


def layout() -> Layout:
    unit_index = np.full(len(PROMPT), -1, dtype=np.int32)
    kinds = np.zeros(len(PROMPT), dtype=np.uint8)
    for number, positions in enumerate(UNITS.values()):
        unit_index[list(positions)] = number
        kinds[list(positions)] = 2
    units = tuple(
        SourceUnit(name, "text", TextRange(0, 0, 0, 1), positions)
        for name, positions in UNITS.items()
    )
    return Layout(kinds, unit_index, units)


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.tensor([PROMPT + RESPONSE[:-1]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def scorer(model: Any, **options: Any) -> ResponseScorer:
    return ResponseScorer(CausalLMAdapter(model, None), inputs(), layout(), RESPONSE, **options)


def span(start: int, end: int) -> Span:
    return Span(0, "", 0, 0, start, end, 0.0, (), True)
