"""Supports verified by ablation: what a span loses without units, and what they alone give back.

One pass hides all sources: where no words of a span need them, no unit is ablated. Else units are
ablated in the order of a token signal's scores, the largest over the span's tokens (one or two
words of a statement fetch the evidence); see :mod:`omnitrace.signals.verified.search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from omnitrace.errors import InputError
from omnitrace.signals.base import SpanSignal
from omnitrace.signals.verified.options import Verify
from omnitrace.signals.verified.ranking import by_size, largest_attention
from omnitrace.types import Effect, Span, SpanEffects

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer

__all__ = ["Verified"]


class Verified(SpanSignal):
    """Effects of the units that matter, measured by ablation, in nats.

    Parameters
    ----------
    options:
        What it may cost, and when a unit counts.
    ranking:
        float ``[spans, units]``, non-negative, for the spans that ``effects`` is asked for: units
        that score highest are verified first. None takes the model's attention, for one more pass.
    """

    name = "verified"

    def __init__(self, options: Verify | None = None, *, ranking: np.ndarray | None = None) -> None:
        self.options = options or Verify()
        self.parameters = self.options.to_dict()
        self.passes = 0.0
        self._ranking = ranking

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        """Measure; ``passes`` then says what that cost, in passes over prompt and response.

        Raises
        ------
        InputError
            If the ranking has another shape than ``[spans, units]``.
        """
        from omnitrace.signals.verified.search import Search

        shape = len(spans), len(scorer.units)
        if not all(shape):
            return [SpanEffects(total=0.0) for _ in spans]
        ranking = self._ranking
        if ranking is None:
            sizes = np.array([len(unit.positions) for unit in scorer.source_units])
            ranking = by_size(largest_attention(scorer, spans), sizes)
        if ranking.shape != shape:
            raise InputError(f"a ranking of shape {ranking.shape}", legal=f"{list(shape)}")
        search = Search(scorer, spans, ranking, self.options)
        found = search.run()
        self.passes = search.measured.passes
        return list[dict[str, Effect]](found)
