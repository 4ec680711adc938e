"""A small live span signal for tests, and answers whose text the test chooses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from transformers import LogitsProcessorList

from omnitrace import Tracer
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.engine.prepare import read_request
from omnitrace.engine.session import _Forced
from omnitrace.signals.base import Effect, LiveSpanSignal
from omnitrace.types import Message, SourceUnit

__all__ = ["ANSWER", "DepthWeighted", "dictated", "with_signal"]

ANSWER = (
    "The tower is 324 metres tall. Gustave Eiffel built it in 1889. "
    "Dr. Smith saw it in 2003, and nobody else did."
)


def dictated(tracer: Tracer, messages: Sequence[Message], answer: str = ANSWER) -> dict[str, Any]:
    """Return generation options with which the model, whatever its weights, writes ``answer``."""
    ids = tracer.adapter.tokenizer(answer, add_special_tokens=False)["input_ids"]
    prompt_length = read_request(tracer, messages, None).prompt_length
    return {
        "max_new_tokens": len(ids),
        "min_new_tokens": len(ids),
        "logits_processor": LogitsProcessorList([_Forced(ids, prompt_length)]),
    }


def with_signal(tracer: Tracer, signal: LiveSpanSignal, block: int = 16) -> Tracer:
    """Return a tracer with a live span signal that nobody has checked."""
    made = copy.copy(tracer)
    signals = tracer.setup.signals._replace(span=signal)
    made.setup = dataclasses.replace(tracer.setup, signals=signals, block=block)
    return made


class DepthWeighted(LiveSpanSignal):
    """Attention mean of each layer, later layers counting more, less what a unit gets on average.

    A feature is a layer: the mean over heads of the attention on the unit's positions, summed.
    """

    name = "depth-weighted"
    parameters: ClassVar = {"slope": 1.0}

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        layers = []
        for layer in rows:
            mean = layer.mean()
            layers.append(torch.stack([mean[:, list(unit)].sum(dim=1) for unit in units], dim=1))
        return torch.stack(layers, dim=1)

    def effects_of(self, reduced: torch.Tensor, units: Sequence[SourceUnit]) -> dict[str, Effect]:
        weights = torch.arange(1, reduced.shape[1] + 1, dtype=torch.float32)
        values = torch.einsum("tfu,f->u", reduced, weights / weights.sum()) / len(reduced)
        values = values - values.mean()
        return {
            unit.id: Effect(value, value - 0.01, value + 0.01)
            for unit, value in zip(units, values.tolist(), strict=True)
        }
