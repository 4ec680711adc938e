"""The words of one span in a terminal: on what each of them rests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Console
from rich.text import Text

from omnitrace._utils.palette import MODALITIES
from omnitrace._utils.plain_text import plain
from omnitrace.errors import InputError
from omnitrace.trace.citations import documents_by_part
from omnitrace.trace.places import place_of
from omnitrace.types import Span

if TYPE_CHECKING:
    from omnitrace.trace.trace import Trace

__all__ = ["print_words", "span_named"]

_WORD: Final = re.compile(r"\S+")
_BAR: Final = 8
_LONGEST: Final = 16
_NONE: Final = "\N{EN DASH}"


def span_named(trace: Trace, wanted: str) -> Span:
    """Return the span of this number, counted from 1, or the first that holds these words.

    Raises
    ------
    InputError
        If there is none.
    """
    if wanted.strip().isdecimal():
        number = int(wanted)
        if 1 <= number <= len(trace.spans):
            return trace.spans[number - 1]
        raise InputError(
            f"there is no statement {number}", legal=f"1 to {len(trace.spans)}, or words of one"
        )
    for span in trace.spans:
        if wanted.strip() and wanted.lower() in span.text.lower():
            return span
    raise InputError(
        f"no statement holds {wanted!r}",
        legal=f"words of one statement, or a number from 1 to {len(trace.spans)}",
    )


def print_words(console: Console, trace: Trace, span: Span) -> None:
    """Print the words of a span: the share of sources in each, and the strongest source."""
    console.print(Text(plain(span.text), style="bold"), soft_wrap=not console.is_terminal)
    signal = trace.provenance.signal
    name = signal.get("token_signal") or signal.get("name") or "the signal"
    note = f"where each word looked, by {name}: the share on sources, and the strongest of them"
    console.print(Text(plain(note), style="dim"), soft_wrap=not console.is_terminal)
    numbers = {each.unit: each.number for said in trace.citations() for each in said.citations}
    words = _words(trace, span)
    width = min(_LONGEST, max((len(word) for word, *_ in words), default=0))
    documents = documents_by_part(trace)
    full, empty = ("#", ".") if console.options.ascii_only else ("█", "░")
    for word, sources, unit, share in words:
        short = word if len(word) <= width else word[: width - 1] + "…"
        line = Text(f"  {short:<{width}}  ")
        if sources is None:
            line.append(_NONE, style="dim")
        else:
            filled = round(_BAR * sources)
            line.append(full * filled + empty * (_BAR - filled))
            line.append(f" {sources:>4.0%}", style="dim")
        if unit is not None:
            found = trace.units[unit]
            marker = f"[{numbers[found.id]}] " if found.id in numbers else ""
            document = documents[found.locator.message, found.locator.part]
            where = f"{plain(document.name)}, {place_of(found.locator)}"
            line.append(f"  {marker}{where}", style=MODALITIES[found.modality])
            line.append(f" {share:.0%}", style="dim")
        console.print(line, soft_wrap=not console.is_terminal)


def _words(trace: Trace, span: Span) -> list[tuple[str, float | None, int | None, float]]:
    """Return each word with the share of its mass on sources, its strongest unit and its share."""
    masses = trace.masses()
    tokens = range(span.token_start, span.token_end)
    found: list[tuple[str, float | None, int | None, float]] = []
    for match in _WORD.finditer(span.text):
        start, end = span.start + match.start(), span.start + match.end()
        own = [t for t in tokens if trace.tokens[t].start < end and trace.tokens[t].end > start]
        total = float(masses.total[own].sum())
        if total <= 0:
            found.append((plain(match[0]), None, None, 0.0))
            continue
        units = masses.units[own].sum(axis=0)
        best = int(np.argmax(units)) if len(units) and units.max() > 0 else None
        share = 0.0 if best is None else float(units[best]) / total
        found.append((plain(match[0]), float(masses.source[own].sum()) / total, best, share))
    return found
