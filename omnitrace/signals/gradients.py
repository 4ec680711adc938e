"""Gradient times attention as a signal (Grad-SAM; OmniTrace's AttGrads)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import InputError
from omnitrace.signals.base import Need, TokenSignal

if TYPE_CHECKING:
    import torch

__all__ = ["GradSAM", "GradSAMLast"]


class GradSAM(TokenSignal):
    """Attention times the positive part of its gradient: ``mean(A * relu(dy/dA))``.

    Barkan et al. 2021 (arXiv 2204.11073), equation 1, for decoders: the row that predicts a token,
    the mean over all heads and layers. y is the token's score before any logits processor.

    Parameters
    ----------
    target:
        ``"logit"``, or ``"logprob"``, which also counts evidence against other tokens.
    """

    name = "grad-sam"

    def __init__(self, target: str = "logit") -> None:
        if target not in ("logit", "logprob"):
            raise InputError(f"target is {target!r}", legal="'logit' or 'logprob'")
        need: Need = "logit-gradients" if target == "logit" else "logprob-gradients"
        self.needs = frozenset({"rows", need})
        self.parameters = {"target": target}

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Average over heads and layers."""
        total: torch.Tensor | None = None
        count = 0
        for layer in rows:
            score = (layer.weights * layer.gradients.clamp_min(0.0)).mean(dim=0)
            total = score if total is None else total.add_(score.to(total.device))
            count += 1
        assert total is not None, "capture always yields at least one layer"
        return total / count


class GradSAMLast(GradSAM):
    """The same of the last layer alone: OmniTrace's AttGrads (arXiv 2604.13073, appendix A)."""

    name = "grad-sam-last"

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Take the last layer only."""
        return available[-1:]
