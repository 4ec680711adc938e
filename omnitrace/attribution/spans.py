"""From a character range of the response to a span with its supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omnitrace.attribution.effects import select_by_effect, verdict_of
from omnitrace.attribution.masses import Masses
from omnitrace.attribution.selection import SelectionConfig, select_supports
from omnitrace.types import Effect, Layout, Section, Span, SpanEffects, Support

__all__ = ["SpanBuilder", "tokens_of"]


def tokens_of(ranges: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Return the half-open token range whose characters overlap ``[start, end)``."""
    inside = [i for i, (a, b) in enumerate(ranges) if a < end and b > start]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


@dataclass(frozen=True, slots=True)
class SpanBuilder:
    """Builds spans for live traces, streams, re-selection and ``explain`` alike.

    Masses, salience and token ranges are those of all tokens, or, while a model writes, of the
    tokens from ``first`` on, which are all that the open span can have.
    """

    layout: Layout
    masses: Masses
    salience: np.ndarray
    token_ranges: Sequence[tuple[int, int]]
    config: SelectionConfig
    first: int = 0

    def build(
        self,
        index: int,
        text: str,
        start: int,
        end: int,
        effects: Mapping[str, Effect] | None = None,
        section: Section = "answer",
    ) -> Span:
        """Choose the supports of ``text[start:end]``, by ``effects`` where a span signal gave some.

        Parameters
        ----------
        index:
            Index of the span.
        text:
            The response.
        start, end:
            Characters of the span.
        effects:
            Effect of each unit on the span, by unit id; with None the tokens vote.
        section:
            Whether the span is a thought or of the answer.
        """
        token_start, token_end = tokens_of(self.token_ranges, start, end)
        selection = select_supports(
            self.masses,
            self.salience,
            (token_start, token_end),
            self.config,
            [unit.modality for unit in self.layout.units],
        )
        if effects is None:
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
        else:
            supports = self._by_effect(effects, slice(token_start, token_end))
        before = self.first if token_end else 0
        return Span(
            index=index,
            text=text[start:end],
            start=start,
            end=end,
            token_start=before + token_start,
            token_end=before + token_end,
            grounding=selection.grounding,
            supports=supports,
            ungrounded=not supports,
            effects=None if effects is None else dict(effects),
            section=section,
            sources_effect=effects.total if isinstance(effects, SpanEffects) else None,
            verdict=verdict_of(effects, self.config),
        )

    def _by_effect(self, effects: Mapping[str, Effect], rows: slice) -> tuple[Support, ...]:
        total = float(self.masses.total[rows].sum())
        units = self.layout.units
        return tuple(
            Support(
                unit=units[chosen.unit_index],
                mass=float(self.masses.units[rows, chosen.unit_index].sum()) / total
                if total > 0
                else 0.0,
                share=chosen.share,
                run=0.0,
                score=chosen.share,
                rank=rank,
                effect=chosen.effect,
                kind=effects[units[chosen.unit_index].id].kind,
            )
            for rank, chosen in enumerate(select_by_effect(effects, units, self.config), start=1)
        )
