"""What a stream's events are for a client: values that JSON can hold, units by their index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnitrace.report.words import strength_of
from omnitrace.trace.events import ProvisionalEvent, SpanEvent, TokenEvent
from omnitrace.trace.trace import Trace
from omnitrace.types import Span

__all__ = ["end_data", "provisional_data", "span_data", "token_data"]


def token_data(event: TokenEvent, units: Mapping[str, int]) -> dict[str, Any]:
    """Describe a token; what it alone rests on is provisional.

    Parameters
    ----------
    event:
        The event.
    units:
        The index of each unit, by its id.
    """
    token = event.token
    data: dict[str, Any] = {"index": token.index, "text": token.text, "section": event.section}
    if token.unit is not None:
        data["supports"] = [{"unit": units[token.unit], "share": _short(token.confidence)}]
    return data


def span_data(event: SpanEvent, units: Mapping[str, int]) -> dict[str, Any]:
    """Describe a span that has ended, with the supports that its signal selects."""
    return _span(event.span, units)


def provisional_data(event: ProvisionalEvent, units: Mapping[str, int]) -> dict[str, Any]:
    """Describe the text that is in no span yet."""
    return _span(event.span, units)


def end_data(trace: Trace, units: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """Describe the end: all spans with their final supports."""
    return {
        "spans": [_span(span, units) for span in trace.spans],
        "verified": any(span.verdict is not None for span in trace.spans),
        "finished": trace.provenance.finished,
        "tokens": len(trace.tokens),
        "prompt_tokens": len(trace.prompt_ids),
        "seconds": round(seconds, 3),
    }


def _span(span: Span, units: Mapping[str, int]) -> dict[str, Any]:
    supports = []
    for support in span.supports:
        entry: dict[str, Any] = {
            "unit": units[support.unit.id],
            "share": _short(support.share),
            "mass": _short(support.mass),
            "strength": strength_of(support),
        }
        if support.effect is not None:
            entry |= {"effect": _short(support.effect), "kind": support.kind}
        supports.append(entry)
    return {
        "index": span.index,
        "text": span.text,
        "section": span.section,
        "start": span.start,
        "end": span.end,
        "tokens": [span.token_start, span.token_end],
        "grounding": _short(span.grounding),
        "ungrounded": span.ungrounded,
        "supports": supports,
        "verified": span.verdict is not None,
        "verdict": span.verdict,
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
