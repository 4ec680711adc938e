"""Attention as a signal (OmniTrace, arXiv 2604.13073, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from omnitrace.signals.base import LayerRows

__all__ = ["AttentionLast", "AttentionMean"]


class AttentionMean:
    """Mean of the attention row over all heads and all layers (AttMean)."""

    name = "attention-mean"
    parameters: Mapping[str, Any] = {}

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Take every layer."""
        return available

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Average the rows; each result sums to at most 1."""
        total: torch.Tensor | None = None
        count = 0
        for layer in rows:
            mean = layer.mean()
            total = mean if total is None else total.add_(mean.to(total.device))
            count += 1
        assert total is not None, "capture always yields at least one layer"
        return total / count


class AttentionLast(AttentionMean):
    """Mean of the attention row over the heads of the last layer (RawAtt)."""

    name = "attention-last"

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Take the last layer only."""
        return available[-1:]
