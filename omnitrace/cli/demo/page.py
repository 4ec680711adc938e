"""A part of the demo's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnitrace.trace.trace import Trace

__all__ = ["Page"]


@dataclass(frozen=True, slots=True)
class Page:
    """A trace, what the report calls it, and a note on each statement that was asked for."""

    title: str
    trace: Trace
    notes: list[str]
