"""The plain record of a trace: what files store, and what a ``Trace`` adds its methods to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from omnitrace.attribution.selection import SelectionConfig
from omnitrace.errors import InputError
from omnitrace.trace.provenance import Provenance
from omnitrace.types import Layout, MediaRecord, Message, Section, SourceUnit, Span, TokenTrace

__all__ = ["TraceRecord"]


@dataclass(frozen=True, eq=False, repr=False)
class TraceRecord:
    """What files store of a trace; :class:`~omnitrace.trace.trace.Trace` describes each field."""

    messages: tuple[Message, ...]
    text: str
    token_ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    layout: Layout
    scores: np.ndarray
    tokens: tuple[TokenTrace, ...]
    spans: tuple[Span, ...]
    salience: np.ndarray
    media: tuple[MediaRecord, ...]
    config: SelectionConfig
    provenance: Provenance

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.text[:60]!r}{'…' if len(self.text) > 60 else ''}, "
            f"{len(self.spans)} spans, {len(self.tokens)} tokens, {len(self.units)} units)"
        )

    @property
    def units(self) -> tuple[SourceUnit, ...]:
        """The source units of the request, in prompt order."""
        return self.layout.units

    def spans_of(self, section: Section) -> tuple[Span, ...]:
        """Return the spans of the model's thoughts, or those of its answer.

        Raises
        ------
        InputError
            If there is no such section.
        """
        if section not in get_args(Section):
            raise InputError(
                f"there is no section {section!r}", legal=" or ".join(map(repr, get_args(Section)))
            )
        return tuple(span for span in self.spans if span.section == section)
