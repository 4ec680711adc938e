"""The signal ``estimator`` for a finished response: attention, and the gradient of a soft mask.

An estimator whose features have ``mask_gradient`` needs the whole response: one pass that shows
the attention, and one with half of everything hidden and a backward pass from each span
(:mod:`omnitrace.signals.mask_gradient`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from omnitrace.errors import InputError, NotSupportedError
from omnitrace.estimator.features import FeatureRecipe, RowReducer, pooled, with_mask_gradient
from omnitrace.estimator.signal import Estimator, Trained
from omnitrace.estimator.store import Learned
from omnitrace.signals.base import SpanSignal
from omnitrace.signals.finished_rows import finished_rows
from omnitrace.signals.mask_gradient import mask_gradients
from omnitrace.types import Effect

if TYPE_CHECKING:
    import torch

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = ["FinishedEstimator", "finished_features", "load_signal"]

_BLOCK: Final = 16  # tokens whose rows are there at once


class FinishedEstimator(Trained, SpanSignal):
    """The effect of each unit on a span of a finished response, by a trained estimator.

    As :class:`~omnitrace.estimator.Estimator`, but its features have ``mask_gradient``: closer to
    measured effects, and no signal to stream with.

    Parameters
    ----------
    path:
        A file of ``omnitrace estimator train --mask-gradient``; else as for :class:`Trained`.

    Raises
    ------
    InputError
        If the file is no estimator, or one that gives effects while the model writes.
    """

    def __init__(self, path: str | Path | Learned | Trained) -> None:
        super().__init__(path)
        if not self.recipe.mask_gradient:
            raise InputError(
                "the estimator was trained without mask_gradient, and needs no finished response",
                legal="an estimator that was trained with it",
                fix="use Estimator, or load_signal(path), which takes either",
            )

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        """Read the response again, with a backward pass from each span.

        A span without a token gets no effects.

        Raises
        ------
        NotSupportedError
            If the response is contrasted with another one, or the model's decoder looks ahead.
        """
        if scorer.foils is not None:
            raise NotSupportedError(
                "the signal 'estimator' cannot contrast two responses: its attention does not "
                "depend on what else might have been written",
                legal="a signal with gradients, such as 'grad-sam', or one that measures, such as "
                "'mask-gradient'",
            )
        layers = self.learned.card.model.layers
        spoken = [i for i, span in enumerate(spans) if span.token_end > span.token_start]
        some = [spans[i] for i in spoken]
        found: list[dict[str, Effect]] = [{} for _ in spans]
        if scorer.units and some:
            features = finished_features(scorer, some, self.recipe, layers)
            for i, span, each in zip(spoken, some, features, strict=True):
                tokens = span.token_end - span.token_start
                found[i] = self.in_nats(each, tokens, scorer.source_units)
        return found


def finished_features(
    scorer: ResponseScorer, spans: Sequence[Span], recipe: FeatureRecipe, layers: Sequence[int]
) -> np.ndarray:
    """Return the features of spans of a finished response.

    Parameters
    ----------
    scorer:
        The response.
    spans:
        Each of at least one token.
    recipe:
        One with ``mask_gradient``.
    layers:
        Indices of the decoder layers whose attention is read, ascending.

    Returns
    -------
    np.ndarray
        float32 ``[spans, features, units]``.
    """
    reduced = _reduced(scorer, recipe, layers)
    found = np.stack([pooled(reduced[span.token_start : span.token_end], recipe) for span in spans])
    return with_mask_gradient(found, mask_gradients(scorer, spans).numpy(), recipe)


def _reduced(scorer: ResponseScorer, recipe: FeatureRecipe, layers: Sequence[int]) -> torch.Tensor:
    """Return float32 ``[tokens, features, units]`` from one pass over prompt and response."""
    import torch  # not above: listing the signals must not wait for it

    capture = finished_rows(scorer, layers, values=recipe.values)
    reduce = RowReducer([unit.positions for unit in scorer.source_units], recipe)
    sizes = [min(_BLOCK, scorer.tokens - first) for first in range(0, scorer.tokens, _BLOCK)]
    return torch.cat([reduce(capture.take(size)) for size in sizes])


def load_signal(path: str | Path | Learned | None = None) -> Estimator | FinishedEstimator:
    """Return the signal ``estimator``, live if its features allow it.

    Parameters
    ----------
    path:
        As for :class:`Trained`.

    Raises
    ------
    InputError
        If the file is no estimator.
    """
    trained = Trained(path)  # the file is read once
    return FinishedEstimator(trained) if trained.recipe.mask_gradient else Estimator(trained)
