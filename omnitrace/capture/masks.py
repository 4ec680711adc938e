"""Which keys a layer lets its queries see, in whatever form it was told."""

from __future__ import annotations

import torch

from omnitrace.capture.interface import AttentionCall

__all__ = ["last_mask", "pass_mask"]


def last_mask(call: AttentionCall, keys: int) -> torch.Tensor | None:
    """Return the last query's mask over the keys, bool or additive: ``[batch, 1 or heads, k]``."""
    mask = call.mask
    if mask is not None and mask.dim() == 4:
        return mask[:, :, -1, :keys]
    padding = None if mask is None else mask[:, None, -keys:].bool()
    window = call.told_window
    if window is None or keys <= window:
        return padding
    recent = (torch.arange(keys, device=call.key.device) >= keys - window)[None, None]
    return recent if padding is None else padding & recent


def pass_mask(call: AttentionCall, first: int = 0) -> torch.Tensor | None:
    """Return the mask of a whole pass's queries from ``first`` on, bool or additive.

    It is ``[batch, 1 or heads, rows or 1, keys]``, and need not say that a query sees nothing
    after itself.
    """
    mask, length = call.mask, call.query.shape[2]
    if mask is not None and mask.dim() == 4:
        return mask[:, :, first:, :length]
    rows = None if mask is None else mask[:, None, None, :length].bool()  # FlashAttention
    window = call.told_window
    if window is None or window >= length:
        return rows
    query = torch.arange(first, length, device=call.key.device)[:, None]
    recent = torch.arange(length, device=call.key.device) > query - window
    return recent[None, None] if rows is None else rows & recent
