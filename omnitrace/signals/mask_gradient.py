"""How a span's log-probability changes as a unit is hidden a little, half of everything hidden.

Hiding units, as the ablation operator ``attention`` does, gives ``f(v)`` for keep-masks ``v`` of 0
and 1. A mask may also be in between: ``log v_k`` is added to the attention logits of the positions
of unit k, for all queries outside of it, so that 1 changes nothing and 0 hides. The effect of a
unit is the derivative ``df / dv_k`` at ``v = (½, …, ½)``: one point in the middle of the straight
way from nothing to everything, along which the derivatives average to effects that sum to
``f(1) - f(0)`` (Aumann and Shapley 1974; Sundararajan et al. 2017, arXiv 1703.01365).

At the end of that way, where everything is there, a model that is given a fact twice, or that can
guess the rest of a word, needs no single unit; in the middle it does.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from omnitrace.errors import InputError, NotSupportedError
from omnitrace.signals.base import Effect, SpanSignal

if TYPE_CHECKING:
    import torch

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.capture.attention_hooks import AttentionCall
    from omnitrace.types import Span

__all__ = ["AT", "MaskGradient", "mask_gradients", "softly_hidden"]

#: How much of every unit is seen where derivatives are taken, unless another value is given.
AT: Final = 0.5


class MaskGradient(SpanSignal):
    """The derivative of a span's log-probability by how much of a unit can be seen, in nats.

    Costs a forward pass a response and a backward pass a span, however many units there are. The
    backward passes need the activations of a training step; of the attention, one layer's at once.

    Parameters
    ----------
    at:
        How much of every unit is seen where the derivative is taken, above 0 and up to 1.
    """

    name = "mask-gradient"

    def __init__(self, at: float = AT) -> None:
        if not 0 < at <= 1:
            raise InputError(f"at is {at!r}", legal="a number above 0 and up to 1")
        self.at = float(at)
        self.parameters = {"at": self.at}

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        """Run the model once, and back from each span.

        Raises
        ------
        NotSupportedError
            If the model's decoder looks ahead, or carries what it has read in states.
        """
        return [
            dict(zip(scorer.units, map(Effect, by_unit), strict=True))
            for by_unit in mask_gradients(scorer, spans, at=self.at).tolist()
        ]


def mask_gradients(
    scorer: ResponseScorer, spans: Sequence[Span], *, at: float = AT
) -> torch.Tensor:
    """Return the derivative of each span's log-probability by how much of each unit is seen.

    Parameters
    ----------
    scorer, spans:
        The response, and spans of it.
    at:
        How much of every unit is seen where the derivative is taken, above 0 and up to 1.

    Returns
    -------
    torch.Tensor
        float32 ``[spans, units]`` on the CPU, in nats.

    Raises
    ------
    NotSupportedError
        If the model's decoder looks ahead, or carries what it has read in states.
    """
    import torch  # not above: listing the signals must not wait for it

    from omnitrace.models.forward import undisturbed

    with undisturbed(scorer.model), torch.inference_mode(False), torch.enable_grad():
        device = scorer.embeddings.device
        seen = torch.full((len(scorer.units),), at, device=device, requires_grad=True)
        sums = scorer.summed(softly_hidden(scorer, seen)[None], spans)[0]
        found = [torch.autograd.grad(each, seen, retain_graph=True)[0].cpu() for each in sums]
    return torch.stack(found) if found else torch.zeros((0, len(scorer.units)))


def softly_hidden(scorer: ResponseScorer, seen: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each token of the response while units are seen in part.

    Parameters
    ----------
    scorer:
        The response.
    seen:
        float32 ``[units]`` between 0, as hidden by the operator ``attention``, and 1.

    Returns
    -------
    torch.Tensor
        float32 ``[T]``, differentiable by ``seen`` where gradients are on.

    Raises
    ------
    NotSupportedError
        If the model's decoder looks ahead, or carries what it has read in states.
    """
    import torch

    from omnitrace.capture.attention_hooks import attention_modules, tapped
    from omnitrace.capture.parameters import check_differentiable
    from omnitrace.models.forward import undisturbed

    check_differentiable(scorer.model)
    if not scorer.reach.causal:
        raise NotSupportedError(
            f"the decoder of {scorer.adapter.source} lets positions look ahead",
            legal="decoders in which a position sees only those before it",
            fix="use a signal that ablates whole units, such as feature-ablation",
        )
    if scorer.recurrent:
        raise NotSupportedError(
            f"layers of {scorer.adapter.source} carry what they have read in a state, from which a "
            "unit cannot be hidden in part",
            legal="decoders whose layers all have softmax attention, and no state beside it",
            fix="use a signal that ablates whole units, such as feature-ablation",
        )
    of = scorer.unit_of
    by_position = torch.cat([seen.log(), seen.new_zeros(1)])[of]  # the last is of no unit: -1
    elsewhere = of[:, None] != of[None, :]
    bias = torch.where(elsewhere, by_position[None, :], seen.new_zeros(()))
    modules = attention_modules(scorer.adapter.decoder)
    attend = functools.partial(_attend, bias)
    # The scorer keeps a graph for embeddings that require gradients.
    fed = scorer.embeddings.clone().requires_grad_(torch.is_grad_enabled())
    with undisturbed(scorer.model), tapped(scorer.model, modules, [attend] * len(modules)):
        return scorer.logprobs(fed)[0]


def _attend(bias: torch.Tensor, call: AttentionCall) -> torch.Tensor:
    """Attend once more with ``bias`` on the logits; the rows are made again on the way back."""
    import torch
    from torch.utils.checkpoint import checkpoint

    attended = functools.partial(_attended, bias.to(call.query.device), call)
    if not torch.is_grad_enabled():
        return attended()
    found: torch.Tensor = checkpoint(attended, use_reentrant=False)
    return found


def _attended(bias: torch.Tensor, call: AttentionCall) -> torch.Tensor:
    from omnitrace.capture.attention_rows import attention_rows

    query, key, value = call.query, call.key, call.value
    rows = attention_rows(
        query,
        key,
        scale=call.scale,
        visible=range(1, query.shape[2] + 1),
        mask=bias[None, None] + _base(call),
        softcap=call.softcap,
        sinks=call.sinks,
    )
    shared = query.shape[1] // value.shape[1]
    carried = rows.to(value.dtype) @ value.repeat_interleave(shared, dim=1)
    return carried.transpose(1, 2).contiguous().to(call.output.dtype)


def _base(call: AttentionCall) -> torch.Tensor:
    """Return what the model itself adds to the logits, beside being causal."""
    import torch

    from omnitrace.capture.visibility import pass_mask

    nothing = torch.zeros((), device=call.query.device)
    mask = pass_mask(call)
    if mask is None:
        return nothing
    return torch.where(mask, nothing, -torch.inf) if mask.dtype == torch.bool else mask.float()
