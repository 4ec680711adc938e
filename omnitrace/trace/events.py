"""What a stream yields while the model writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from omnitrace.trace.trace import Trace
from omnitrace.types import Section, Span, TokenTrace

__all__ = ["EndEvent", "Event", "ProvisionalEvent", "SpanEvent", "TokenEvent"]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A token was generated and traced.

    ``section`` is that of its text; None where a marker lies in it, which is in no section.
    """

    token: TokenTrace
    section: Section | None = "answer"
    type: Literal["token"] = "token"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """A span ended; its supports are the signal's, or verified with ``verify_spans``."""

    span: Span
    type: Literal["span"] = "span"


@dataclass(frozen=True, slots=True)
class ProvisionalEvent:
    """What supports the text that is in no span yet, as far as it is written and traced.

    ``span`` is that text as if it were a span: its supports may still change, and where it ends,
    and whether it becomes one span or several, is not known. ``index`` is the next span's.
    """

    span: Span
    type: Literal["provisional"] = "provisional"


@dataclass(frozen=True, slots=True)
class EndEvent:
    """Generation ended; ``trace`` is the whole result."""

    trace: Trace
    type: Literal["end"] = "end"


Event: TypeAlias = TokenEvent | ProvisionalEvent | SpanEvent | EndEvent
