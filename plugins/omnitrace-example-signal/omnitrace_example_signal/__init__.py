"""An example plugin: a token signal in about ten lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from omnitrace import hookimpl
from omnitrace.signals import LayerRows, RegisterSignal, TokenSignal

if TYPE_CHECKING:
    import torch

__all__ = ["DeepFocus", "register_signals"]


class DeepFocus(TokenSignal):
    """Attention of the deeper half of the layers, in which sharp heads count more."""

    name = "deep-focus"

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Take the deeper half."""
        return available[len(available) // 2 :]

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Average over heads, each weighted by its peak, and over layers."""
        scores = []
        for layer in rows:
            weights = layer.weights  # [heads, rows, context]
            peak = weights.amax(dim=-1, keepdim=True)
            scores.append((weights * peak).sum(dim=0) / peak.sum(dim=0))
        return sum((each.to(scores[0].device) for each in scores[1:]), scores[0]) / len(scores)


@hookimpl
def register_signals(register: RegisterSignal) -> None:
    """Register the signal under its name."""
    register(DeepFocus.name, DeepFocus, summary="attention of the deeper layers, sharp heads first")
