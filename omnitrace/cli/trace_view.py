"""A whole trace in a terminal: the response with markers, its sources below, one span's words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from omnitrace._utils.palette import MODALITIES
from omnitrace._utils.plain_text import plain, without_controls
from omnitrace.cli.console import print_section
from omnitrace.report.words import verdict_words
from omnitrace.trace.citations import (
    Citation,
    SpanCitations,
    documents_by_part,
    sections_of,
)
from omnitrace.types import MediaRecord, Section

if TYPE_CHECKING:
    from omnitrace.trace.trace import Trace

__all__ = ["print_trace"]

_QUOTE: Final = 160
_WIDEST_BAR: Final = 48
_NARROWEST_BAR: Final = 8


def print_trace(console: Console, trace: Trace, title: str) -> None:
    """Print what a trace is of, its response with ``[n]`` markers, and the sources they name."""
    cited = trace.citations()
    _print_head(console, trace, title, cited)
    section: Section = "answer"
    for name, start, end in sections_of(trace):
        section = print_section(console, name, section)
        _print(console, _marked(trace, cited, start, end))
    if not trace.text.strip():
        _print(console, Text("(the response is empty)", style="dim"))
    units: dict[int, list[Citation]] = {}
    for span in cited:
        for each in span.citations:
            units.setdefault(each.number, []).append(each)
    _print_sources(console, trace, [_strongest(units[number]) for number in sorted(units)])


def _print(console: Console, text: Text) -> None:
    """Print a text that a terminal may wrap between words; a file gets its lines whole."""
    console.print(text, soft_wrap=not console.is_terminal)


def _print_head(console: Console, trace: Trace, title: str, cited: Sequence[SpanCitations]) -> None:
    made = trace.provenance
    _print(console, Text(plain(title), style="bold underline"))
    supported = sum(bool(span.citations) for span in cited)
    counts = f"{supported} of {len(cited)} statements with sources"
    facts = [made.model, str(made.signal.get("name", "")), made.created, counts]
    _print(console, Text(plain(" · ".join(filter(None, facts))), style="dim"))
    if not made.finished:
        note = "broken off: this is what there was until then"
        _print(console, Text(note, style="yellow"))
    for note in made.notes:
        _print(console, Text(plain(note), style="yellow"))
    console.print()


def _marked(trace: Trace, cited: Sequence[SpanCitations], start: int, end: int) -> Text:
    """Return a section of the response with its markers, and a tag where there is no source."""
    text, at = Text(), start
    for span in sorted(cited, key=lambda each: each.start):
        if not start <= span.start <= span.end <= end:
            continue
        ends = max(at, span.start + len(span.text.rstrip()))
        _append(text, trace.text[at : max(at, span.start)])
        _append(text, trace.text[max(at, span.start) : ends], "" if span.citations else "italic")
        if span.citations:
            text.append(" ")
        for each in span.citations:
            text.append(f"[{each.number}]", style=_style(each))
        if not span.citations:
            text.append(f" [{verdict_words(trace.spans[span.span])}]", style="yellow")
        at = ends
    _append(text, trace.text[at:end].rstrip())
    return text


def _append(text: Text, raw: str, style: str = "") -> None:
    """Append a text with its line breaks, and without anything that a terminal obeys."""
    lines = (without_controls(line.replace("\t", "    ")) for line in raw.splitlines())
    text.append("\n".join(lines) + ("\n" if raw.endswith("\n") else ""), style=style)


def _style(citation: Citation) -> str:
    return f"bold {MODALITIES[citation.modality]}"


def _strongest(cited: Sequence[Citation]) -> Citation:
    """Return the strongest of the citations of one unit."""
    return max(cited, key=lambda each: (each.effect or 0.0, each.strength))


def _print_sources(console: Console, trace: Trace, cited: Sequence[Citation]) -> None:
    """Print each part that is cited with its units, in the order of the request."""
    documents = documents_by_part(trace)
    records = {(record.message, record.part): record for record in trace.media}
    for place, document in documents.items():
        here = [each for each in cited if (each.message, each.part) == place]
        if not here:
            continue
        record = records.get(place)
        console.print()
        head = Text(plain(document.name), style="bold")
        facts = _facts(here[0].modality, record, document.name)
        if document.source_id not in (None, document.name):
            facts.append(str(document.source_id))
        head.append(f"  {plain(' · '.join(facts))}", style="not bold dim")
        _print(console, head)
        length = (record.duration if record else None) or _last_second(here)
        margin = 2 + max(len(f"[{each.number}]") for each in here)
        beside = margin + 6 + max(len(each.place + _figures(each)) for each in here)
        width = min(_WIDEST_BAR, max(_NARROWEST_BAR, console.width - beside))
        ascii_only = console.options.ascii_only
        for each in here:
            bar = ""
            if each.seconds:
                bar = _bar(*each.seconds, length, width, ascii_only=ascii_only) + "  "
            _print(console, _source_line(each, margin, bar))


def _facts(modality: str, record: MediaRecord | None, name: str) -> list[str]:
    facts = [record.modality if record else modality]
    if record and record.name not in ("", name):
        facts.append(record.name)
    if record and record.size:
        facts.append(f"{record.size[0]} \N{MULTIPLICATION SIGN} {record.size[1]} px")
    if record and record.duration is not None:
        facts.append(f"{record.duration:.1f}".removesuffix(".0") + " s")
    return facts


def _last_second(cited: Iterable[Citation]) -> float:
    return max((each.seconds[1] for each in cited if each.seconds), default=0.0)


def _source_line(citation: Citation, margin: int, bar: str) -> Text:
    """Say a unit: its marker, when and where it is, how strong it is, and its text."""
    line = Text(f"[{citation.number}]".rjust(margin) + " ", style=_style(citation))
    line.append(bar, style="not bold")
    line.append(citation.place, style="not bold")
    line.append(f"  {_figures(citation)}", style="not bold dim")
    if citation.cited_text:
        quote = plain(citation.cited_text)
        short = quote if len(quote) <= _QUOTE else quote[: _QUOTE - 1].rstrip() + "…"
        who = f"{plain(citation.speaker)}: " if citation.speaker else ""
        line.append(f"  {who}“{short}”", style="not bold")
    return line


def _figures(citation: Citation) -> str:
    if citation.effect is None:
        return f"{citation.strength:.0%}"
    said = [citation.kind or f"{citation.strength:.0%}", f"{citation.effect:+.2f} nats"]
    if citation.interval is not None:
        said.append(f"[{citation.interval[0]:+.2f}, {citation.interval[1]:+.2f}]")
    return " ".join(said)


def _bar(start: float, end: float, length: float, width: int, *, ascii_only: bool) -> str:
    """Draw a stretch of time on a line that is the whole medium; never without a mark."""
    full, empty = ("#", "-") if ascii_only else ("█", "─")
    begun, done = (min(max(at / length, 0.0), 1.0) if length > 0 else 0.0 for at in (start, end))
    first = min(width - 1, int(begun * width))
    last = max(first + 1, round(done * width))
    return empty * first + full * (last - first) + empty * (width - last)
