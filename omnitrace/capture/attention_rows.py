"""Softmax rows of a few queries over the keys, from what a layer's attention was called with."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch

__all__ = ["Scratch", "attention_rows"]


class Scratch:
    """Memory that consecutive layers share, so that no layer waits for fresh pages."""

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def take(self, name: str, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """Return a float32 tensor of ``shape`` whose content is whatever it held before."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size or buffer.device != like.device:
            # Some room to grow: the context is a little longer with every block.
            buffer = torch.empty(size + size // 8, dtype=torch.float32, device=like.device)
            self._buffers[name] = buffer
        return buffer[:size].view(*shape)


@functools.lru_cache(maxsize=64)
def _hidden(visible: tuple[int, ...], columns: int, device: torch.device) -> torch.Tensor:
    """Return bool ``[rows, columns]``: which of these last columns a row must not see."""
    first, rows = visible[0], len(visible)
    if visible == tuple(range(first, first + rows)):  # made on the device: a copy would wait for it
        limits = torch.arange(first, first + rows, device=device)
    else:
        limits = torch.tensor(visible, device=device)
    return torch.arange(columns, device=device) >= limits[:, None]


def _logits(
    query: torch.Tensor, key: torch.Tensor, scale: float, scratch: Scratch | None
) -> torch.Tensor:
    """Scaled products of the queries with the keys, float32 ``[batch, heads, rows, keys]``."""
    batch, heads, rows, dim = query.shape
    groups, keys = key.shape[1], key.shape[2]
    shape = (batch, heads, rows, keys)
    if query.dtype != torch.float32:
        packed = query.reshape(batch, groups, heads // groups * rows, dim)
        return torch.matmul(packed, key.transpose(2, 3)).float().mul_(scale).view(shape)
    packed = (query * scale).reshape(batch, groups, heads // groups * rows, dim)
    if scratch is None or batch > 1:
        return torch.matmul(packed, key.transpose(2, 3)).view(shape)
    out = scratch.take("logits", (groups, heads // groups * rows, keys), query)
    return torch.bmm(packed[0], key[0].transpose(1, 2), out=out).view(shape)


def attention_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    *,
    scale: float,
    visible: Sequence[int],
    mask: torch.Tensor | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    scratch: Scratch | None = None,
) -> torch.Tensor:
    """Softmax rows of a few queries over the keys, in float32.

    Parameters
    ----------
    query:
        ``[batch, heads, rows, dim]``.
    key:
        ``[batch, key-value heads, keys, dim]``.
    scale:
        Factor of the logits.
    visible:
        For each row, how many leading keys it may see.
    mask:
        Bool (True = visible) or additive, broadcastable to ``[batch, heads, rows, keys]``.
    softcap:
        Logits become ``softcap * tanh(logits / softcap)`` (Gemma 2).
    sinks:
        ``[heads]`` logits that take part in the softmax and are dropped (gpt-oss).
    scratch:
        Memory for the result, which is then valid until the next call with the same scratch.

    Returns
    -------
    torch.Tensor
        float32 ``[batch, heads, rows, keys]``; zero beyond the visible keys.
    """
    batch, heads, rows, _ = query.shape
    logits = _logits(query, key, scale, scratch)
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    first = min(visible)
    if first < key.shape[2]:
        relative = tuple(limit - first for limit in visible)
        hidden = _hidden(relative, key.shape[2] - first, logits.device)
        logits[..., first:].masked_fill_(hidden, -torch.inf)
    if mask is not None:
        if mask.dtype == torch.bool:
            logits.masked_fill_(~mask, -torch.inf)
        else:
            logits += mask
    if sinks is None:
        if scratch is None:
            return torch.softmax(logits, dim=-1)
        return torch.softmax(logits, dim=-1, out=scratch.take("rows", logits.shape, logits))
    extra = sinks.float().view(1, -1, 1, 1).expand(batch, heads, rows, 1)
    return torch.softmax(torch.cat([logits, extra], dim=-1), dim=-1)[..., :-1]
