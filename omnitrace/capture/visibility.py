"""How far a model's layers look, which decides how a token can be hidden from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from omnitrace.capture.attention_hooks import AttentionCall

__all__ = ["AttentionReach", "PaddingMasks", "last_mask", "pass_mask"]


class AttentionReach:
    """Captures one whole pass and notes which tokens each layer's queries see.

    Attributes
    ----------
    modules:
        The modules that attended, each once.
    full:
        Every query of every layer saw every position up to its own. It depends on the length: a
        sliding window that the sequence fits into hides nothing.
    causal:
        No query saw a position after its own.
    """

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []
        self.full = True
        self.causal = True
        self._seen: torch.Tensor | None = None

    def copied(self) -> AttentionReach:
        """Return what was noted so far, to go on from."""
        new = AttentionReach()
        new.modules, new.full, new.causal = list(self.modules), self.full, self.causal
        return new

    def __call__(self, call: AttentionCall) -> None:
        """Note what one layer sees; the tap of :mod:`omnitrace.capture.attention_hooks`."""
        if call.module not in self.modules:
            self.modules.append(call.module)
        queries, keys = call.query.shape[2], call.key.shape[2]
        mask, window = call.mask, call.kernel_window
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


def last_mask(call: AttentionCall, keys: int) -> torch.Tensor | None:
    """Return the last query's mask over the keys, bool or additive: ``[batch, 1 or heads, k]``."""
    mask = call.mask
    if mask is not None and mask.dim() == 4:
        return mask[:, :, -1, :keys]
    padding = None if mask is None else mask[:, None, -keys:].bool()
    window = call.kernel_window
    if window is None or keys <= window:
        return padding
    recent = (torch.arange(keys, device=call.key.device) >= keys - window)[None, None]
    return recent if padding is None else padding & recent


class PaddingMasks:
    """Leaves out masks that hide nothing but the padding that a batch is read without.

    On an accelerator one would have to wait to know, so there they stay.

    Parameters
    ----------
    pads:
        How many positions at the beginning of each sequence are padding; empty leaves every mask
        as it is.
    """

    def __init__(self, pads: Sequence[int] = ()) -> None:
        self._pads = torch.tensor(pads)[:, None, None] if pads else None
        self._whole: torch.Tensor | None = None
        self._needed = True

    def needed(self, call: AttentionCall, mask: torch.Tensor | None) -> torch.Tensor | None:
        """Return the last query's bool mask in a call, or None where it hides only padding."""
        if mask is None or self._pads is None or mask.device.type != "cpu":
            return mask
        if call.mask is not self._whole:  # most layers share one
            own = (torch.arange(mask.shape[-1]) >= self._pads).expand(-1, mask.shape[1], -1)
            self._needed = not torch.equal(mask.expand_as(own), own)
            self._whole = call.mask
        return mask if self._needed else None


def pass_mask(call: AttentionCall, first: int = 0) -> torch.Tensor | None:
    """Return the mask of a whole pass's queries from ``first`` on, bool or additive.

    It is ``[batch, 1 or heads, rows or 1, keys]``, and need not say that a query sees nothing
    after itself.
    """
    mask, length = call.mask, call.query.shape[2]
    if mask is not None and mask.dim() == 4:
        return mask[:, :, first:, :length]
    rows = None if mask is None else mask[:, None, None, :length].bool()  # FlashAttention
    window = call.kernel_window
    if window is None or window >= length:
        return rows
    query = torch.arange(first, length, device=call.key.device)[:, None]
    recent = torch.arange(length, device=call.key.device) > query - window
    return recent[None, None] if rows is None else rows & recent
