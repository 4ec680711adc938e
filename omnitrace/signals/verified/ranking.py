"""The order in which units are verified, where no trace has scored them yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.capture.attention_hooks import AttentionCall
    from omnitrace.types import Span

__all__ = ["by_size", "largest_attention"]


def by_size(masses: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Divide masses ``[…, units]`` by the root of the units' tokens.

    A sum over a unit favours long units and a mean short ones; the root lies between.
    """
    ranked: np.ndarray = masses / np.sqrt(np.maximum(sizes, 1))
    return ranked


def largest_attention(scorer: ResponseScorer, spans: Sequence[Span]) -> np.ndarray:
    """Return float64 ``[spans, units]``: a unit's largest attention from a token of the span.

    Attention is the mean over heads and layers, summed over the unit's tokens; it costs one pass.
    """
    import torch

    from omnitrace.capture.attention_hooks import attention_modules, tapped
    from omnitrace.models.forward import undisturbed

    of = scorer.unit_of
    length, count = len(of), len(scorer.units)
    member = torch.zeros((length, count), device=of.device)
    owned = (of >= 0).nonzero()[:, 0]
    member[owned, of[owned]] = 1.0
    prompt = length - scorer.tokens + 1
    sums: list[torch.Tensor] = []

    def read(call: AttentionCall) -> None:
        sums.append(_unit_sums(call, member, prompt))

    modules = attention_modules(scorer.adapter.decoder)
    with (
        undisturbed(scorer.model),
        tapped(scorer.model, modules, [read] * len(modules)),
        torch.no_grad(),
    ):
        scorer.logprobs(scorer.embeddings)
    masses = torch.stack(sums).mean(0).double().cpu().numpy()
    return np.stack(
        [masses[span.token_start : span.token_end].max(axis=0, initial=0.0) for span in spans]
    )


def _unit_sums(call: AttentionCall, member: torch.Tensor, prompt: int) -> torch.Tensor:
    """Return ``[T, units]``: what the response's tokens attend to, mean over the heads."""
    from omnitrace.capture.decode import attention_rows

    length = call.query.shape[2]
    rows = attention_rows(
        call.query[:, :, prompt - 1 :],
        call.key,
        scale=call.scale,
        visible=range(prompt, length + 1),
        softcap=call.softcap,
        sinks=call.sinks,
    )[0]
    width = rows.shape[-1]
    mean = rows.float().mean(0)
    sums: torch.Tensor = mean @ member[-width:].to(mean.device)
    return sums
