"""A part of the demo's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnitrace.report.truth import SpanTruth
    from omnitrace.trace.trace import Trace

__all__ = ["Page"]


@dataclass(frozen=True, slots=True)
class Page:
    """A trace, what the report calls it, what is true of each span, and what else to say."""

    title: str
    trace: Trace
    truths: list[SpanTruth | None]
    notes: list[str]
