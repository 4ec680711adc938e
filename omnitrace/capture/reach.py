"""How far a model's layers look: what decides in which form a token can be hidden from them."""

from __future__ import annotations

import torch

from omnitrace.capture.interface import AttentionCall

__all__ = ["AttentionReach"]


class AttentionReach:
    """Listens to one whole pass and notes what its layers see of each other's tokens.

    Attributes
    ----------
    calls:
        Layers that were heard.
    full:
        Every query of every layer saw every position up to its own. It depends on the length: a
        sliding window that the sequence fits into hides nothing.
    causal:
        No query saw a position after its own.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.full = True
        self.causal = True
        self._seen: torch.Tensor | None = None

    def __call__(self, call: AttentionCall) -> None:
        """Note what one layer sees; the tap of :mod:`omnitrace.capture.interface`."""
        self.calls += 1
        queries, keys = call.query.shape[2], call.key.shape[2]
        mask, window = call.mask, call.told_window
        if mask is None or mask.dim() != 4:  # the kernel itself is causal, and keeps the window
            self.full &= queries == keys and not (window is not None and window < keys)
            return
        if mask is self._seen:  # most layers share one
            return
        self._seen = mask
        visible = mask[..., :keys]
        visible = visible if visible.dtype == torch.bool else visible >= 0
        order = torch.ones(queries, keys, dtype=torch.bool, device=mask.device).tril(keys - queries)
        self.full &= bool((visible == order).all())
        self.causal &= not bool((visible & ~order).any())
