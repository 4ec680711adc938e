"""What the viewer shows of a trace, as values that JSON can hold: its data model.

Units, parts and spans are named by their indices. Texts are cut here, by Python's characters, which
JavaScript counts otherwise. The modules of ``static/`` read nothing but this.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from omnitrace.report.embedded import embedded_view
from omnitrace.report.media import facts_of, image_view, time_view
from omnitrace.report.provenance import headline, provenance_rows, warnings_of
from omnitrace.report.tokens import span_signals, token_columns
from omnitrace.report.truth import SpanTruth, support_is_right, truth_view
from omnitrace.report.words import strength_of, strength_words, verdict_words, why_unsupported
from omnitrace.trace.citations import parts_of, quote_of
from omnitrace.trace.places import place_of
from omnitrace.trace.trace import Trace
from omnitrace.types import SourceUnit, Span, Support, TextRange

__all__ = ["trace_view"]

_TITLE_LENGTH: Final = 90


def trace_view(
    trace: Trace,
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    truths: Sequence[SpanTruth | None] | None = None,
    media: bool = False,
) -> dict[str, Any]:
    """Describe a trace.

    Parameters
    ----------
    trace:
        The trace.
    title:
        Its heading; by default the end of its question.
    notes:
        Lines of text to show with it.
    truths:
        For each span what is known to be true of it, or None.
    media:
        Whether the original audio and video files are in it, so that they can be played.
    """
    masses = trace.masses()
    shares = masses.units / np.maximum(masses.total, np.finfo(np.float64).tiny)[:, None]
    index = {unit.id: i for i, unit in enumerate(trace.units)}
    numbers = _numbers(trace)
    parts = _parts_view(trace, media=media)
    place = {(part["message"], part["index"]): i for i, part in enumerate(parts)}
    known = truths if truths is not None else [None] * len(trace.spans)
    spans = sorted(
        zip(trace.spans, span_signals(trace, shares), known, strict=True),
        key=lambda each: each[0].start,
    )
    cuts = _cuts(trace.text, [span for span, _, _ in spans])
    return {
        "title": title or _title(trace),
        **headline(trace),
        "notes": [*trace.provenance.notes, *notes],
        "warnings": warnings_of(trace),
        "roles": [str(message.get("role", "")) for message in trace.messages],
        "parts": parts,
        "units": [
            {
                "id": unit.id,
                "kind": unit.modality,
                "part": place[unit.locator.message, unit.locator.part],
                "place": place_of(unit.locator),
                "quote": _quote(trace, unit),
                "number": numbers.get(unit.id),
            }
            for unit in trace.units
        ],
        "spans": [
            _span_view(span, signal, index, truth) | {"before": before, "text": text}
            for (span, signal, truth), (before, text) in zip(spans, cuts, strict=False)
        ],
        "rest": cuts[-1][0],
        "tokens": token_columns(trace, shares),
        "provenance": provenance_rows(trace),
    }


def _numbers(trace: Trace) -> dict[str, int]:
    """Return the number of each cited unit, from 1, in the order in which they are first cited."""
    cited = dict.fromkeys(support.unit.id for span in trace.spans for support in span.supports)
    return {unit: number for number, unit in enumerate(cited, start=1)}


def _cuts(text: str, spans: Sequence[Span]) -> list[tuple[str, str]]:
    """Cut a response: what stands before each span, and its own text; at last what follows.

    A character that lies in two spans is shown in the first.
    """
    cuts, at = [], 0
    for span in spans:
        start = max(at, span.start)
        cuts.append((text[at:start], text[start : span.end]))
        at = max(start, span.end)
    return [*cuts, (text[at:], "")]


def _span_view(
    span: Span, signal: list[float], index: dict[str, int], truth: SpanTruth | None
) -> dict[str, Any]:
    return {
        "section": span.section,
        "tokens": [span.token_start, span.token_end],
        "grounding": round(span.grounding, 4),
        "strength": strength_words(span),
        "verdict": verdict_words(span),
        "why": None if span.supports else why_unsupported(span),
        "all": span.sources_effect,
        "supports": [_support_view(span, each, index, truth) for each in span.supports],
        "signal": signal,
        "truth": None if truth is None else truth_view(truth, span, index),
    }


def _support_view(
    span: Span, support: Support, index: dict[str, int], truth: SpanTruth | None
) -> dict[str, Any]:
    unit = support.unit.id
    return {
        "unit": index[unit],
        "share": round(support.share, 4),
        "mass": round(support.mass, 4),
        "effect": support.effect,
        "interval": span.interval_of(unit),
        "kind": support.kind,
        "strength": strength_of(support),
        "right": None if truth is None else support_is_right(truth, unit),
    }


def _parts_view(trace: Trace, *, media: bool) -> list[dict[str, Any]]:
    """Describe all parts of all messages, in their order."""
    units: dict[tuple[int, int], list[tuple[int, SourceUnit]]] = {}
    for i, unit in enumerate(trace.units):
        units.setdefault((unit.locator.message, unit.locator.part), []).append((i, unit))
    texts = itertools.count(1)
    views = []
    for m, message in enumerate(trace.messages):
        for p, part in enumerate(parts_of(message)):
            here = units.get((m, p), [])
            view = {
                "message": m,
                "index": p,
                "source": bool(here),
                "title": _string(part.get("title")),
                "metadata": part.get("metadata"),
            }
            if "media" in part:
                record = trace.media[part["media"]]
                drawn = image_view if record.modality == "image" else time_view
                view |= {
                    "kind": record.modality,
                    "name": _media_name(part.get("source_id"), record.name, record.modality),
                    "facts": facts_of(record),
                    **drawn(record, here),
                    **(embedded_view(record, media) if record.modality != "image" else {}),
                }
            else:
                number = next(texts)
                name = _string(part.get("source_id")) or f"text {number}"
                view |= {
                    "kind": "text",
                    "name": name,
                    "facts": "",
                    "pieces": _pieces(part["text"], here),
                }
            views.append(view)
    return views


def _string(value: object) -> str | None:
    return None if value is None else str(value)


def _media_name(source_id: object, name: str, modality: str) -> str:
    return " · ".join(str(each) for each in (source_id, name) if each) or modality


def _quote(trace: Trace, unit: SourceUnit) -> str | None:
    """Return all of a unit's text, or what is said in it."""
    is_text = isinstance(unit.locator, TextRange)
    return quote_of(trace, unit) if is_text else unit.quote or None


def _title(trace: Trace) -> str:
    texts = [
        part["text"]
        for message in trace.messages
        if message.get("role") == "user"
        for part in parts_of(message)
        if "media" not in part
    ]
    words = " ".join(texts[-1].split()) if texts else ""
    if not words.strip("█"):  # redacted
        return ""
    return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1].rstrip() + "…"


def _pieces(text: str, units: Sequence[tuple[int, SourceUnit]]) -> list[list[Any]]:
    """Cut a text where a unit begins or ends: pairs of a piece and the indices of its units."""
    ranges = sorted(
        (u.locator.start, u.locator.end, i) for i, u in units if isinstance(u.locator, TextRange)
    )
    cuts = sorted({0, len(text), *(r[0] for r in ranges), *(r[1] for r in ranges)})
    pieces: list[list[Any]] = []
    open_: list[tuple[int, int]] = []  # (end, unit) of what covers the piece
    at = 0
    for start, end in itertools.pairwise(cuts):
        open_ = [each for each in open_ if each[0] > start]
        while at < len(ranges) and ranges[at][0] <= start:
            open_ += [ranges[at][1:]] if ranges[at][1] > start else []
            at += 1
        pieces.append([text[start:end], [unit for _, unit in open_]])
    return pieces
