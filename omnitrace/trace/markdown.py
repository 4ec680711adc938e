"""A response with ``[n]`` markers, and a footnote for each source that it cites, as Markdown."""

from __future__ import annotations

import re
from typing import Final

from omnitrace._utils.plain_text import plain
from omnitrace.trace.citations import (
    Citation,
    citations_of,
    documents_by_part,
    sections_of,
)
from omnitrace.trace.record import TraceRecord
from omnitrace.types import Section

__all__ = ["to_markdown"]

# What could begin a construct of Markdown or HTML.
_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]<>()#+!|~&$-]")
_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*\Z", re.MULTILINE)


def to_markdown(trace: TraceRecord, section: Section | None = "answer") -> str:
    """Return the response with markers and footnotes; see :meth:`Trace.to_markdown`."""
    spans = sorted(citations_of(trace, section), key=lambda span: span.start)
    marked = []
    for name, start, end in sections_of(trace):
        if section not in (None, name):
            continue
        at, pieces = start, []
        for span in spans:
            if span.citations and start <= span.start and span.end <= end:
                ends = max(at, span.start + len(span.text.rstrip()))
                before = trace.text[at:ends]
                marks = "".join(f"[{each.number}]" for each in span.citations)
                # Behind the end of a block of code the marker would open it again.
                gap = "\n\n" if _FENCE.search(before) else " "
                pieces += [before, gap, marks]
                at = ends
        marked.append("".join([*pieces, trace.text[at:end]]).strip())
    notes = _footnotes(trace, [each for span in spans for each in span.citations])
    rule = ["---"] if notes else []
    return "\n\n".join([*filter(None, marked), *rule, *notes]) + "\n"


def _footnotes(trace: TraceRecord, citations: list[Citation]) -> list[str]:
    documents = documents_by_part(trace)
    found: dict[int, str] = {}
    for each in citations:
        if each.number not in found:
            name = _escaped(documents[each.message, each.part].name)
            who = f", {_escaped(each.speaker)}" if each.speaker else ""
            note = f"[{each.number}] **{name}**, {each.place}{who}"
            quote = _escaped(each.cited_text)
            found[each.number] = f"{note}: “{quote}”" if quote else note
    return [found[number] for number in sorted(found)]


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", plain(text))
