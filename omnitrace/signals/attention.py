"""Attention as a signal (OmniTrace, arXiv 2604.13073, section 3; Kobayashi et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from omnitrace.signals.base import LayerRows, TokenSignal

if TYPE_CHECKING:
    import torch

__all__ = ["AttentionLast", "AttentionMean", "ValueAttention"]


class AttentionMean(TokenSignal):
    """Mean of the attention row over all heads and all layers (AttMean)."""

    name = "attention-mean"

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Average the rows; each result sums to at most 1."""
        total: torch.Tensor | None = None
        count = 0
        for layer in rows:
            mean = self._of_layer(layer)
            total = mean if total is None else total.add_(mean.to(total.device))
            count += 1
        assert total is not None, "capture always yields at least one layer"
        return total / count

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
        import torch  # not above: listing the signals must not wait for it

        carried = torch.einsum("hrc,hc->rc", layer.weights, layer.value_norms)
        return carried / carried.sum(dim=-1, keepdim=True).clamp_min(1e-20)
