"""Attention rows of a finished response, for span signals that measure it anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.capture.replay import ReplayCapture

__all__ = ["finished_rows"]


def finished_rows(
    scorer: ResponseScorer, layers: Sequence[int] | None = None, *, values: bool = False
) -> ReplayCapture:
    """Run the response once more and return what its layers show.

    Parameters
    ----------
    scorer:
        The response.
    layers:
        Indices of the decoder layers that are read, ascending; None reads all
        that have softmax attention.
    values:
        Whether the norms of the value vectors are needed too.
    """
    import torch  # not above: listing the signals must not wait for it

    from omnitrace.capture.attention_hooks import tapped
    from omnitrace.capture.replay import ReplayCapture
    from omnitrace.models.forward import undisturbed

    by_index = scorer.layers
    layers = sorted(by_index) if layers is None else layers
    prompt_length = scorer.embeddings.shape[1] - scorer.tokens + 1
    capture = ReplayCapture(layers, prompt_length, values=values)
    modules = [by_index[layer] for layer in layers]
    with undisturbed(scorer.model), torch.no_grad(), tapped(scorer.model, modules, capture.taps):
        scorer.logprobs(scorer.embeddings)
    return capture
