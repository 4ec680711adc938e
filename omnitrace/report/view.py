"""What a report shows of a trace, as plain values: the template renders them and decides nothing.

``trace_view`` is for the template, ``script_data`` for the script. Units are named by their index
among the trace's units; an element of the page that shows units carries their indices in
``data-units``, which is all that the script needs to highlight text, boxes and seconds alike.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from omnitrace.report.media import media_view, seconds
from omnitrace.report.words import verdict_words, why_unsupported
from omnitrace.trace.trace import Trace
from omnitrace.types import ImageRegion, Message, SourceUnit, Span, TextRange

__all__ = ["place_of", "script_data", "trace_view"]

_TITLE_LENGTH: Final = 90
_TO: Final = "\N{EN DASH}"


def trace_view(
    trace: Trace, number: int, *, title: str | None = None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Describe the section of a page for the trace of this ``number``."""
    cited = _cited(trace)
    return {
        "id": f"trace-{number + 1}",
        "number": number,
        "title": title or _title(trace) or f"Trace {number + 1}",
        "notes": [*trace.provenance.notes, *notes],
        "finished": trace.provenance.finished,
        "grounded": sum(not span.ungrounded for span in trace.spans),
        "spans": [_span_view(trace, i, span) for i, span in enumerate(trace.spans)],
        "tokens": len(trace.tokens),
        "units": len(trace.units),
        "messages": [
            _message_view(trace, index, message, cited)
            for index, message in enumerate(trace.messages)
        ],
        "sections": _sections(trace),
        "provenance": _provenance(trace),
    }


def script_data(trace: Trace) -> dict[str, Any]:
    """Return the spans and supports of a trace, as JSON-ready values."""
    return {
        "text": trace.text,
        "spans": [
            _span_view(trace, number, span)
            | {
                "start": span.start,
                "end": span.end,
                "tokens": [span.token_start, span.token_end],
                "verdict": span.verdict,
                "sources_effect": span.sources_effect,
            }
            for number, span in enumerate(trace.spans)
        ],
    }


def _span_view(trace: Trace, number: int, span: Span) -> dict[str, Any]:
    return {
        "number": number,
        "text": span.text,
        "grounding": span.grounding,
        "ungrounded": span.ungrounded,
        "tag": verdict_words(span),
        "why": why_unsupported(span),
        "section": span.section,
        "supports": _supports(trace, span),
    }


def _supports(trace: Trace, span: Span) -> list[dict[str, Any]]:
    index = {unit.id: i for i, unit in enumerate(trace.units)}
    return [
        {
            "unit": support.unit.id,
            "index": index[support.unit.id],
            "modality": support.unit.modality,
            "source": _source_name(trace, support.unit),
            "place": place_of(support.unit),
            "quote": _quote(trace, support.unit),
            "rank": support.rank,
            "share": support.share,
            "mass": support.mass,
            "run": support.run,
            "score": support.score,
            "effect": support.effect,
            "kind": support.kind,
            "interval": span.interval_of(support.unit.id),
        }
        for support in span.supports
    ]


def place_of(unit: SourceUnit) -> str:
    """Return where a unit lies in its part, in words."""
    locator = unit.locator
    if isinstance(locator, TextRange):
        return f"characters {locator.start}{_TO}{locator.end}"
    if isinstance(locator, ImageRegion):
        x0, y0, x1, y1 = (f"{value:.0f}" for value in locator.box)
        return f"x {x0}{_TO}{x1}, y {y0}{_TO}{y1} px"
    return f"{seconds(locator.start)}{_TO}{seconds(locator.end)} s"


def _cited(trace: Trace) -> list[tuple[int, SourceUnit]]:
    ids = {support.unit.id for span in trace.spans for support in span.supports}
    return [(i, unit) for i, unit in enumerate(trace.units) if unit.id in ids]


def _parts(message: Message) -> list[dict[str, Any]]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _part(trace: Trace, unit: SourceUnit) -> dict[str, Any]:
    return _parts(trace.messages[unit.locator.message])[unit.locator.part]


def _source_name(trace: Trace, unit: SourceUnit) -> str:
    if unit.source_id:
        return unit.source_id
    part = _part(trace, unit)
    if "media" in part:
        record = trace.media[part["media"]]
        return str(record.name or record.modality)
    texts = [
        (m, p)
        for m, message in enumerate(trace.messages)
        for p, each in enumerate(_parts(message))
        if "media" not in each
    ]
    return f"text {texts.index((unit.locator.message, unit.locator.part)) + 1}"


def _quote(trace: Trace, unit: SourceUnit) -> str:
    locator = unit.locator
    if not isinstance(locator, TextRange):
        return ""
    text: str = _part(trace, unit)["text"]
    return text[locator.start : locator.end]


def _title(trace: Trace) -> str:
    texts = [
        part["text"]
        for message in trace.messages
        if message.get("role") == "user"
        for part in _parts(message)
        if "media" not in part
    ]
    words = " ".join(texts[-1].split()) if texts else ""
    if not words.strip("█"):  # redacted
        return ""
    return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1].rstrip() + "…"


def _message_view(
    trace: Trace, index: int, message: Message, cited: Sequence[tuple[int, SourceUnit]]
) -> dict[str, Any]:
    parts = []
    for number, part in enumerate(_parts(message)):
        units = [
            (i, unit)
            for i, unit in cited
            if (unit.locator.message, unit.locator.part) == (index, number)
        ]
        if "media" in part:
            parts.append(media_view(trace.media[part["media"]], units, part.get("source_id")))
        else:
            parts.append(
                {
                    "kind": "text",
                    "name": part.get("source_id") or "",
                    "pieces": _pieces(part["text"], units),
                }
            )
    return {"role": str(message.get("role", "")), "parts": parts}


def _pieces(text: str, units: Sequence[tuple[int, SourceUnit]]) -> list[dict[str, Any]]:
    """Cut a text where a unit begins or ends; a piece lists its units, and which begin there."""
    ranges = [(i, u.locator) for i, u in units if isinstance(u.locator, TextRange)]
    edges = {0, len(text), *(r.start for _, r in ranges), *(r.end for _, r in ranges)}
    cuts = sorted(edges)
    return [
        {
            "text": text[start:end],
            "units": [i for i, r in ranges if r.start <= start and end <= r.end],
            "begins": any(r.start == start for _, r in ranges),
        }
        for start, end in itertools.pairwise(cuts)
    ]


def _sections(trace: Trace) -> list[dict[str, Any]]:
    """Cut the response where thoughts begin and end, and each section into its pieces.

    The text between two spans, a marker of thoughts too, is of the section before it.
    """
    sections: list[dict[str, Any]] = []
    for piece in _answer(trace):
        number = piece["span"]
        section = None if number is None else trace.spans[number].section
        if not sections or section not in (None, sections[-1]["name"]):
            first = trace.spans[0].section if trace.spans else "answer"
            sections.append({"name": section or first, "pieces": []})
        sections[-1]["pieces"].append(piece)
    return sections or [{"name": "answer", "pieces": []}]


def _answer(trace: Trace) -> list[dict[str, Any]]:
    """Cut the response into spans and the text between them."""
    pieces: list[dict[str, Any]] = []
    at = 0
    for number, span in sorted(enumerate(trace.spans), key=lambda item: item[1].start):
        start = max(at, span.start)
        if start > at:
            pieces.append({"text": trace.text[at:start], "span": None, "ungrounded": False})
        end = max(start, span.end)
        pieces.append(
            {
                "text": trace.text[start:end],
                "span": number,
                "ungrounded": span.ungrounded,
                "tag": verdict_words(span),
            }
        )
        at = end
    if at < len(trace.text):
        pieces.append({"text": trace.text[at:], "span": None, "ungrounded": False})
    return pieces


def _provenance(trace: Trace) -> list[tuple[str, str]]:
    made = trace.provenance
    signal = dict(made.signal)
    rows = [
        ("Model", _join(made.model, made.revision and f"revision {made.revision}", made.dtype)),
        ("Adapter", _join(made.adapter, made.attention, made.processor)),
        ("Configuration", made.config_digest),
        ("Signal", _join(str(signal.pop("name", "")), _pairs(signal))),
        ("Selection", _pairs(trace.config.to_dict())),
        ("Salience", made.salience),
        ("Segmentation", _pairs(made.segmentation)),
        ("Generation", _pairs(made.generation)),
        ("Seed", "" if made.seed is None else str(made.seed)),
        ("Media", ", ".join(f"{m.name} sha256:{m.sha256[:12]}" for m in trace.media)),
        ("Versions", ", ".join(f"{k} {v}" for k, v in made.versions.items())),
        ("Timings", ", ".join(f"{k} {v:.3g} s" for k, v in made.timings.items())),
        ("Created", made.created),
    ]
    return [(name, value) for name, value in rows if value]


def _join(*values: str | None) -> str:
    return " · ".join(value for value in values if value)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value == {}:
        return "none"
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, list | tuple):
        numbers = list(value)
        whole = all(isinstance(each, int) for each in numbers)
        if whole and len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]}{_TO}{numbers[-1]}"
    return json.dumps(value, ensure_ascii=False, default=str)
