"""The backward pass of one decoding step, where autograd's own would not do."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from omnitrace.capture.attention_hooks import AttentionCall
from omnitrace.capture.attention_rows import attention_rows
from omnitrace.capture.context_count import ContextCount
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.capture.value_norms import ValueNorms
from omnitrace.capture.visibility import last_mask
from omnitrace.errors import NotSupportedError

__all__ = ["CapturedAttention", "GradientTap", "Head", "StepState"]


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


class CapturedAttention(torch.autograd.Function):
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


@dataclass(slots=True)
class StepState:
    """State of the running step that a capture shares with the taps of its layers.

    Attributes
    ----------
    prompt_length:
        Number of prompt tokens.
    capturing:
        Whether this forward call is a step whose gradients are needed.
    replaying_prompt:
        Whether it runs the last prompt token once more.
    fresh:
        By layer, the key and value that the step itself adds to the cache.
    attended:
        By identity, the keys that a layer attends to in this step, and what is fresh of them:
        another layer may attend to the same.
    count:
        Of the positions that the layers have seen.
    """

    prompt_length: int
    capturing: bool = False
    replaying_prompt: bool = False
    fresh: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    attended: dict[int, tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]] = field(
        default_factory=dict
    )
    count: ContextCount = field(default_factory=ContextCount)

    def own_of(self, layer: int, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return the step's own key and value among ``keys``, whichever layer they come from."""
        own = self.fresh.pop(layer, None)
        if own is not None:
            self.attended[id(keys)] = keys, own  # kept alive, so that its identity stays its own
            return own
        known = self.attended.get(id(keys))
        return None if known is None else known[1]

    def end(self) -> None:
        """Forget what belongs to the step alone."""
        self.capturing = False
        self.fresh.clear()
        self.attended.clear()


class GradientTap:
    """One decoder layer: its prompt's keys and values, then row and gradient of every step."""

    def __init__(self, state: StepState, layer: int, *, values: bool) -> None:
        self._state = state
        self.layer = layer
        self.steps: deque[tuple[torch.Tensor, torch.Tensor]] = deque()
        self.norms = ValueNorms() if values else None
        self.prompt: tuple[torch.Tensor, torch.Tensor] | None = None
        self.row: torch.Tensor | None = None
        self.gradient: torch.Tensor | None = None

    @property
    def context(self) -> int:
        """How many positions the layer has seen."""
        return self._state.count.seen

    def __call__(self, call: AttentionCall) -> torch.Tensor | None:
        """Note what the layer shows; in a step, return its output with the exact backward pass."""
        state = self._state
        if not state.replaying_prompt:
            state.count.begin(self, call)
            if self.norms is not None:
                self.norms.add(call, state.count.new, self.context)
        if not state.capturing:
            if self.context == state.prompt_length:
                keys = call.key[:, :, : self.context], call.value[:, :, : self.context]
                self.prompt = keys[0].detach(), keys[1].detach()
            return None
        new = state.own_of(self.layer, call.key)
        batch, heads, _, dim = call.key.shape
        if new is None or new[0].shape != (batch, heads, 1, dim):
            raise NotSupportedError(
                f"layer {self.layer} attends to keys that no layer caches, so gradients by its "
                "attention cannot be computed from a single step",
                legal="models in which the keys of every layer are cached as they are attended to",
                fix="use a signal that needs rows only",
            )
        return CapturedAttention.apply(call.query, *new, self, call)  # type: ignore[no-any-return]

    def commit(self) -> None:
        """Keep row and gradient of the differentiated step, at absolute positions."""
        row, gradient = self.row, self.gradient
        assert row is not None, "every layer lies between the embedding and the logits"
        assert gradient is not None
        missing = self.context - row.shape[-1]  # a sliding window's cache has the last keys only
        if missing:
            row, gradient = (nn.functional.pad(each, (missing, 0)) for each in (row, gradient))
        self.steps.append((row, gradient))
        self.row = self.gradient = None

    def read(self, steps: int, batch: int, first: int, pad: int) -> LayerRows:
        """Return what steps from ``first`` on left, such that no later step changes it."""
        rows, gradients = zip(*itertools.islice(self.steps, first, first + steps), strict=True)
        width = rows[-1].shape[-1]
        return LayerRows(
            self.layer,
            lambda reuse: _join([row[batch, ..., pad:] for row in rows]),
            gradients=lambda: _join([gradient[batch, ..., pad:] for gradient in gradients]),
            value_norms=None if self.norms is None else self.norms.reader(width, batch, pad),
        )


def _join(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Put the rows of several steps together, float32 ``[heads, steps, context]``."""
    width = rows[-1].shape[-1]
    padded = [nn.functional.pad(row, (0, width - row.shape[-1])) for row in rows]
    return padded[0] if len(padded) == 1 else torch.cat(padded, dim=1)
