"""The order in which units are verified, where no trace has scored them yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from omnitrace.signals.attention import ValueAttention
from omnitrace.signals.finished_rows import finished_rows

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = ["by_size", "largest_attention", "weights"]

_UNSEEN: Final = 0.01  # share of the best score that a unit counts with which the signal overlooks


def by_size(masses: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Divide masses ``[…, units]`` by the root of the units' tokens.

    A sum over a unit favours long units and a mean short ones; the root lies between.
    """
    ranked: np.ndarray = masses / np.sqrt(np.maximum(sizes, 1))
    return ranked


def weights(ranking: np.ndarray) -> np.ndarray:
    """Return how much scores ``[spans, units]`` speak for units: the root of a share of the best.

    Values are in (0, 1]; where all scores of a span are 0 none of its units stands out.
    """
    strongest = ranking.max(axis=1, keepdims=True, initial=0.0)
    shares = ranking / np.where(strongest > 0, strongest, 1.0)
    found: np.ndarray = np.sqrt(np.maximum(shares, _UNSEEN))
    return found


def largest_attention(scorer: ResponseScorer, spans: Sequence[Span]) -> np.ndarray:
    """Return float64 ``[spans, units]``: a unit's largest attention from a token of the span.

    Attention is weighted by what it carries, and summed over the unit's tokens; it costs one pass.
    """
    import torch  # not above: listing the signals must not wait for it

    of = scorer.unit_of
    member = torch.zeros((len(of), len(scorer.units)), device=of.device)
    owned = (of >= 0).nonzero()[:, 0]
    member[owned, of[owned]] = 1.0
    rows = ValueAttention().score(finished_rows(scorer, values=True).take(scorer.tokens))
    masses = (rows @ member[: rows.shape[1]].to(rows.device)).double().cpu().numpy()
    return np.stack(
        [masses[span.token_start : span.token_end].max(axis=0, initial=0.0) for span in spans]
    )
