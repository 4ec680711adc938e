"""Say spans, supports, locators and progress in a terminal.

Everything that a model or a user wrote goes through :func:`plain`, so that it can neither carry
terminal commands nor rich markup.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rich.console import Console
from rich.status import Status
from rich.text import Text

from omnitrace._utils.plain_text import plain
from omnitrace.report.words import verdict_words, why_unsupported
from omnitrace.types import ImageRegion, Locator, Section, Span, Support, TextRange

if TYPE_CHECKING:
    from omnitrace.trace.trace import Trace

__all__ = [
    "PartNames",
    "StatusLine",
    "describe",
    "make_console",
    "names_of_request",
    "names_of_trace",
    "plain",
    "print_json",
    "print_notes",
    "print_section",
    "print_span",
    "print_table",
    "print_unsupported",
]

# What the user calls the media parts, by message and part.
PartNames: TypeAlias = Mapping[tuple[int, int], str]

_QUOTE: Final = 80
_TO: Final = "\u2013"  # an en dash, as between the ends of any range
_MEDIA: Final = ("image", "audio", "video")


def make_console(*, stderr: bool = False) -> Console:
    """Make a console that prints text as it is, in colour only on a terminal."""
    return Console(
        file=sys.stderr if stderr else sys.stdout, highlight=False, markup=False, emoji=False
    )


class StatusLine:
    """What is being done, on stderr and only if that is a terminal."""

    def __init__(self) -> None:
        console = make_console(stderr=True)
        self._status = Status(Text(""), console=console) if console.is_terminal else None
        self._live = False

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, text: str) -> None:
        """Show a line until the next one."""
        if self._status is not None:
            self._status.update(Text(plain(text)))
            self._status.start()
            self._live = True

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Clear the line while something else is printed; stdout may be the same terminal."""
        if self._status is None or not self._live:
            yield
            return
        self._status.stop()
        yield
        self._status.start()


def _quote(text: str) -> str:
    line = plain(text)
    return f"“{line if len(line) <= _QUOTE else line[: _QUOTE - 1].rstrip() + '…'}”"


def _number(value: float) -> str:
    """Write a coordinate without needless digits: ``56``, not ``56.0``."""
    return f"{value:.1f}".removesuffix(".0")


def describe(locator: Locator, modality: str, names: PartNames | None = None) -> str:
    """Say where a unit is: ``image part 1 [0,0 – 56,56] px``, ``audio part 2 2.0–3.0 s``.

    Parts, and messages other than the first, are called by their index, as in the request.
    """
    place = f"{modality} part {locator.part}"
    if locator.message:
        place = f"message {locator.message} {place}"
    name = (names or {}).get((locator.message, locator.part))
    if name:
        place += f" ({plain(name)})"
    if isinstance(locator, TextRange):
        return f"{place} [{locator.start}{_TO}{locator.end}]"
    if isinstance(locator, ImageRegion):
        x0, y0, x1, y1 = (_number(value) for value in locator.box)
        return f"{place} [{x0},{y0} {_TO} {x1},{y1}] px"
    return f"{place} {locator.start:.1f}{_TO}{locator.end:.1f} s"


def _support_line(span: Span, support: Support, names: PartNames | None) -> Text:
    unit = support.unit
    line = Text(f"  {support.rank:>2}. ", style="dim")
    if support.kind is None:
        line.append(f"{support.share:>4.0%}  ", style="bold")
    else:
        line.append(f"{support.kind:<10}  ", style="bold")
    line.append(describe(unit.locator, unit.modality, names), style="cyan")
    if unit.quote:
        line.append(f"  {_quote(unit.quote)}", style="green")
    if unit.source_id is not None:
        line.append(f"  source {plain(unit.source_id)}", style="magenta")
    if support.effect is not None:
        line.append(f"  {support.effect:+.2f} nats")
        if (interval := span.interval_of(unit.id)) is not None:
            line.append(f" [{interval[0]:+.2f}, {interval[1]:+.2f}]", style="dim")
    return line


def print_section(console: Console, section: Section, before: Section = "answer") -> Section:
    """Print a heading where another section begins than ``before``; return the section."""
    if section != before:
        console.print(Text(f"[{section}]", style="italic dim"), soft_wrap=True)
    return section


def print_span(console: Console, span: Span, names: PartNames | None = None) -> None:
    """Print a span, and below it the sources that support it or that there is none."""
    head = Text(plain(span.text), style="bold")
    if span.verdict is None:
        head.append(f"  grounding {span.grounding:.0%}", style="not bold dim")
    if span.ungrounded:
        head.append(f"  {verdict_words(span)}", style="not bold yellow")
    console.print(head, soft_wrap=True)
    for support in span.supports:
        console.print(_support_line(span, support, names), soft_wrap=True)
    if not span.supports:
        console.print(Text(f"      {why_unsupported(span)}", style="dim"), soft_wrap=True)


def print_unsupported(console: Console, text: str) -> None:
    """Print a response of which nothing is known but its words."""
    for line in text.splitlines():
        console.print(Text(plain(line), style="bold"), soft_wrap=True)
    note = "      no supports: the signal failed"
    console.print(Text(note, style="dim"), soft_wrap=True)


def print_table(console: Console, rows: Sequence[Sequence[str]]) -> None:
    """Print rows of as many cells each in columns, the first as their heading."""
    lines = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)]
        text = "  ".join(cells).rstrip()
        console.print(Text(text, style="bold" if number == 0 else ""), soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Write one JSON document as one line on stdout."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "") == "utf8"
    line = json.dumps(document, ensure_ascii=not utf8, allow_nan=False)
    print(line, flush=True)


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print what is said below a table, a line each."""
    for note in notes:
        console.print(Text(plain(note), style="dim"), soft_wrap=True)


def names_of_trace(trace: Trace) -> PartNames:
    """Return the names that a trace remembers of its media."""
    return {(record.message, record.part): record.name for record in trace.media}


def names_of_request(messages: Sequence[Any]) -> PartNames:
    """Return the file names of a request's media, whatever else the request may hold."""
    names: dict[tuple[int, int], str] = {}
    for number, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        parts: Iterable[Any] = content if isinstance(content, list) else ()
        for position, part in enumerate(parts):
            if not isinstance(part, Mapping):
                continue
            value = next((part[k] for k in (*_MEDIA, "path") if isinstance(part.get(k), str)), "")
            if value and not value.startswith("data:"):
                names[number, position] = re.split(r"[/\\]", value)[-1]
    return names
