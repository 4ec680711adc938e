"""From a character range of the response to a span with its supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnitrace.curation import CurationConfig, curate_span
from omnitrace.tracing import Masses
from omnitrace.types import Layout, Span, Support

__all__ = ["SpanBuilder", "tokens_of"]


def tokens_of(ranges: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Return the half-open token range whose characters overlap ``[start, end)``."""
    inside = [i for i, (a, b) in enumerate(ranges) if a < end and b > start]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


@dataclass(frozen=True, slots=True)
class SpanBuilder:
    """Builds spans for live traces, streams, re-curation and ``explain`` alike."""

    layout: Layout
    masses: Masses
    salience: np.ndarray
    token_ranges: Sequence[tuple[int, int]]
    config: CurationConfig

    def build(self, index: int, text: str, start: int, end: int) -> Span:
        """Curate the span of ``text[start:end]``."""
        token_start, token_end = tokens_of(self.token_ranges, start, end)
        selection = curate_span(
            self.masses,
            self.salience,
            (token_start, token_end),
            self.config,
            [unit.modality for unit in self.layout.units],
        )
        supports = tuple(
            Support(
                unit=self.layout.units[chosen.unit_index],
                mass=chosen.mass,
                share=chosen.share,
                run=chosen.run,
                score=chosen.score,
                rank=chosen.rank,
            )
            for chosen in selection.supports
        )
        return Span(
            index=index,
            text=text[start:end],
            start=start,
            end=end,
            token_start=token_start,
            token_end=token_end,
            grounding=selection.grounding,
            supports=supports,
            ungrounded=selection.ungrounded,
        )
