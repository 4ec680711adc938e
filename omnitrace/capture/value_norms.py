"""How long the value vectors are once the output projection has carried them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from omnitrace.capture.attention_hooks import AttentionCall
from omnitrace.capture.parameters import loaded_weight
from omnitrace.errors import ModelError

__all__ = ["ValueNorms"]

# What families of transformers call the projection from the heads to the residual stream.
_PROJECTIONS = ("o_proj", "out_proj", "dense", "wo", "c_proj")


class ValueNorms:
    """Norms of ``W_O^h v`` for every context position of one layer, added to as the cache grows.

    What single steps bring waits, and is computed in one product when it is read.
    """

    def __init__(self) -> None:
        self._gram: torch.Tensor | None = None
        self._blocks: list[torch.Tensor] = []
        self._waiting: list[torch.Tensor] = []

    def add(self, call: AttentionCall, new: int, context: int) -> None:
        """Add the ``new`` positions of a pass; ``context`` counts them and all before."""
        if new == context:  # without a cache every call brings all positions again
            self._blocks, self._waiting = [], []
        end = min(call.value.shape[2], context)  # a static cache is longer than the context
        value = call.value[:, :, end - new : end].detach()
        if self._gram is None:
            self._gram = _gram(call.module, call.query.shape[1], value.shape[-1])
        if new == 1:
            self._waiting.append(value.clone())  # a view would keep the whole cache alive
        else:
            self._compute_waiting()
            self._blocks.append(_norms(value, self._gram))

    def reader(self, context: int, batch: int, pad: int = 0) -> Callable[[], torch.Tensor]:
        """Return what returns float32 ``[heads, context - pad]``, whatever is added later.

        The norms are those of one sequence of the batch, from position ``pad`` on.
        """
        self._compute_waiting()
        if len(self._blocks) > 1:
            self._blocks = [torch.cat(self._blocks, dim=-1)]
        norms = self._blocks[0][batch, :, pad:context]
        return lambda: norms

    def _compute_waiting(self) -> None:
        if self._waiting:
            assert self._gram is not None
            self._blocks.append(_norms(torch.cat(self._waiting, dim=2), self._gram))
            self._waiting = []


def _norms(value: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """Return float32 ``[batch, heads, positions]`` of values ``[batch, groups, positions, dim]``.

    The sequences of a batch are laid behind each other, so that no head's matrix is copied for
    each.
    """
    batch, groups, positions, dim = value.shape
    heads = gram.shape[0]
    joined = value.float().transpose(0, 1).reshape(groups, 1, batch * positions, dim)
    joined = joined.expand(-1, heads // groups, -1, -1).reshape(heads, batch * positions, dim)
    squares = (torch.bmm(joined, gram.to(value.device)) * joined).sum(dim=-1)
    norms = squares.clamp_min_(0.0).sqrt_().view(heads, batch, positions)
    return norms.transpose(0, 1)


def _gram(module: nn.Module, heads: int, dim: int) -> torch.Tensor:
    """``W_O^hᵀ W_O^h`` of each head, float32 ``[heads, dim, dim]``: |W v|² = vᵀ (WᵀW) v."""
    for name in _PROJECTIONS:
        projection = getattr(module, name, None)
        weight = None if projection is None else loaded_weight(projection)
        if weight is None or not weight.is_floating_point() or weight.element_size() < 2:
            continue  # eight bits and less are codes that mean nothing without their scales
        if type(projection).__name__ == "Conv1D":  # GPT-2 stores [in, out]
            weight = weight.t()
        if weight.dim() == 2 and weight.shape[1] == heads * dim:
            columns = _columns(projection, weight, heads, dim)
            return torch.matmul(columns, columns.transpose(1, 2))
    raise ModelError(
        f"{type(module).__name__} has no output projection that value vectors can be sent through",
        legal=f"an unquantised linear layer named {', '.join(_PROJECTIONS)}",
        fix="use a signal that does not need 'values'",
    )


def _columns(projection: Any, weight: torch.Tensor, heads: int, dim: int) -> torch.Tensor:
    """Return the columns of the projection by head, float32 ``[heads, dim, out]``.

    A layer of another type than torch's own may add to its weight, as LoRA does: its columns are
    what it makes of unit vectors.
    """
    if type(projection) is nn.Linear or type(projection).__name__ == "Conv1D":
        return weight.float().t().reshape(heads, dim, -1)
    with torch.no_grad():
        unit = torch.eye(heads * dim, dtype=weight.dtype, device=weight.device)
        bias = projection(torch.zeros_like(unit[:1]))
        by_head = [(projection(rows) - bias).float() for rows in torch.split(unit, dim)]
    return torch.stack(by_head)
