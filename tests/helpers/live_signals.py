"""A small live span signal for tests."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch

from omnitrace import Tracer
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.base import Effect, LiveSpanSignal
from omnitrace.types import SourceUnit

__all__ = ["DepthWeighted", "with_signal"]


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
