"""The backward pass of one decoding step, where autograd's own would not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from omnitrace.capture.attention_hooks import AttentionCall
from omnitrace.capture.decode import attention_rows
from omnitrace.capture.visibility import last_mask

if TYPE_CHECKING:
    from omnitrace.capture.gradients import GradientTap

__all__ = ["Head", "Listened"]


class Head(torch.autograd.Function):
    """The output layer's own logits going forward; a well summed product going backward.

    A vector times a matrix of a whole vocabulary is summed in one running total, whose rounding
    (2e-4 of a gradient of SmolLM2) comes to light where a log-probability's terms cancel. Matrix
    products sum in blocks, so the vector is sent twice.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, logits: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Return ``logits``, ``[..., vocabulary]``, of ``hidden``, ``[..., width]``."""
        ctx.weight = weight
        return logits.detach().clone()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Differentiate ``hidden @ weight.T`` by ``hidden``."""
        rows = upstream.reshape(-1, upstream.shape[-1])
        twice = torch.cat([rows, rows]).to(ctx.weight.dtype)
        by_hidden = torch.matmul(twice, ctx.weight)[: len(rows)]
        return by_hidden.view(*upstream.shape[:-1], -1), None, None


class Listened(torch.autograd.Function):
    """The layer's own output going forward; the exact softmax attention going backward."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        new_key: torch.Tensor,
        new_value: torch.Tensor,
        tap: GradientTap,
        call: AttentionCall,
    ) -> torch.Tensor:
        """Return ``call.output``, ``[batch, 1, heads, dim]``."""
        ctx.save_for_backward(query, new_key, new_value)
        ctx.tap, ctx.call = tap, call
        return call.output.detach().clone()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Differentiate ``softmax(q K / scale) V`` by q and by the step's own key and value."""
        query, new_key, new_value = ctx.saved_tensors
        tap, call = ctx.tap, ctx.call
        batch, heads, _, dim = query.shape
        groups = call.key.shape[1]
        keys = min(call.key.shape[2], tap.context)  # a static cache is longer than the context
        key = call.key[:, :, :keys].detach()
        value = call.value[:, :, :keys].detach()
        mask = last_mask(call, keys)
        softcap = call.softcap
        row = attention_rows(
            query.detach(),
            key,
            scale=call.scale,
            visible=[keys],
            mask=None if mask is None else mask[:, :, None],
            softcap=softcap,
            sinks=call.sinks,
        )
        packed = (batch, groups, heads // groups, -1)
        above = upstream.transpose(1, 2).reshape(packed)
        by_row = torch.matmul(above, value.transpose(2, 3)).float().view(batch, heads, 1, keys)
        tap.row, tap.gradient = row, by_row
        by_logit = row * (by_row - (row * by_row).sum(dim=-1, keepdim=True))
        if softcap is not None:
            products = torch.matmul(query.reshape(packed), key.transpose(2, 3)).float() * call.scale
            by_logit = by_logit * (1 - torch.tanh(products / softcap).view_as(row) ** 2)
        by_logit = by_logit.mul_(call.scale).to(query.dtype)
        by_query = torch.matmul(by_logit.view(packed), key).view_as(query)
        # The step's own key and value are the last ones; query heads of a group share them.
        own = by_logit[..., -1].view(batch, groups, -1, 1)
        by_key = (own * query.view(batch, groups, -1, dim)).sum(dim=2, keepdim=True)
        share = row[..., -1].to(above.dtype).view(batch, groups, -1, 1)
        by_value = (share * above).sum(dim=2, keepdim=True)
        return by_query, by_key.view_as(new_key), by_value.view_as(new_value), None, None
