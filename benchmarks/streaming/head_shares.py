"""A live span signal with one feature a layer and head, as the learned estimator has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.base import Effect, LiveSpanSignal
from omnitrace.types import SourceUnit

__all__ = ["HeadShares"]


class HeadShares(LiveSpanSignal):
    """Attention on each unit by layer and head, as shares over the units; all features count alike.

    It is there to be timed: its effects are shares less their mean, and nobody's nats.
    """

    name = "head-shares"

    def __init__(self) -> None:
        self._membership: torch.Tensor | None = None
        self._of: Sequence[Sequence[int]] = ()

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        """Sum each head's rows over the units' positions."""
        if self._membership is None or self._of != units:
            width = 1 + max(max(unit) for unit in units)
            self._membership = torch.zeros(width, len(units))
            for number, unit in enumerate(units):
                self._membership[list(unit), number] = 1.0
            self._of = units
        width, found = len(self._membership), []
        for layer in rows:
            weights = layer.weights[:, :, :width]
            found.append((weights @ self._membership.to(weights.device)).transpose(0, 1))
        return torch.cat(found, dim=1)

    def effects_of(self, reduced: torch.Tensor, units: Sequence[SourceUnit]) -> dict[str, Effect]:
        """Average the shares over tokens, layers and heads."""
        shares = reduced / reduced.sum(dim=2, keepdim=True).clamp_min(1e-12)
        values = shares.mean(dim=(0, 1))
        values -= values.mean()
        return {unit.id: Effect(value) for unit, value in zip(units, values.tolist(), strict=True)}
