"""Attention as a signal (OmniTrace, arXiv 2604.13073, section 3; Kobayashi et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.base import TokenSignal

if TYPE_CHECKING:
    import torch

__all__ = ["AttentionLast", "AttentionMean", "LayerMean", "ValueAttention"]


class LayerMean:
    """The mean over layers that come one after the other."""

    def __init__(self) -> None:
        self._total: torch.Tensor | None = None
        self._count = 0

    def add(self, rows: torch.Tensor) -> None:
        """Add the next layer's rows, float32 ``[rows, context]``; only their sum is kept."""
        self._total = rows if self._total is None else self._total.add_(rows.to(self._total.device))
        self._count += 1

    def result(self) -> torch.Tensor:
        """Return the mean, float32 ``[rows, context]``, on the first layer's device."""
        assert self._total is not None, "capture always yields at least one layer"
        return self._total / self._count


class AttentionMean(TokenSignal):
    """Mean of the attention row over all heads and all layers (AttMean)."""

    name = "attention-mean"

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Average the rows; each result sums to at most 1."""
        mean = LayerMean()
        for layer in rows:
            mean.add(self._of_layer(layer))
        return mean.result()

    def _of_layer(self, layer: LayerRows) -> torch.Tensor:
        return layer.mean()


class AttentionLast(AttentionMean):
    """Mean of the attention row over the heads of the last layer (RawAtt)."""

    name = "attention-last"

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Take the last layer only."""
        return available[-1:]


class ValueAttention(AttentionMean):
    """Attention weighted by what it carries: ``A * |W_O v|``.

    Kobayashi et al. 2020 (arXiv 2004.10102), section 3: the norm of the value vector after the
    output projection, times the weight it gets. Summed over a layer's heads and divided by the
    layer's total, so that layers with long vectors do not drown the others; then the mean over
    layers. A position that draws attention and gives nothing, a sink, scores near zero.
    """

    name = "value-attention"
    needs = frozenset({"rows", "values"})

    def _of_layer(self, layer: LayerRows) -> torch.Tensor:
        # Not einsum: it would sum over the heads by a product for each position.
        carried = (layer.weights * layer.value_norms.unsqueeze(1)).sum(dim=0)
        return carried / carried.sum(dim=-1, keepdim=True).clamp_min(1e-20)
