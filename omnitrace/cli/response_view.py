"""What is printed of one request while it is traced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from omnitrace._utils.counted import counted
from omnitrace.cli.console import make_console, plain, print_section, print_span
from omnitrace.trace.events import EndEvent, Event, SpanEvent
from omnitrace.types import Section, Span

if TYPE_CHECKING:
    import numpy as np

    from omnitrace.cli.console import PartNames, StatusLine

__all__ = ["ResponseView"]


@dataclass(slots=True)
class ResponseView:
    """Prints the spans of a response, and says how far it is.

    Attributes
    ----------
    status:
        The line that is cleared while something is printed.
    label:
        What the line calls the request.
    heading:
        What is printed first, once something has happened; "" for nothing.
    names:
        Of the request's media.
    verifies:
        Whether spans wait for what verification finds, and are printed with that.
    silent:
        Whether nothing is printed but how far it is.
    tokens, ablations:
        How many were written and measured so far.
    """

    status: StatusLine
    label: str
    heading: str = ""
    names: PartNames = field(default_factory=dict)
    verifies: bool = False
    silent: bool = False
    tokens: int = 0
    ablations: int = 0
    _waiting: list[Span] = field(default_factory=list)
    _section: Section = "answer"

    def say_progress(self) -> None:
        """Say how far the response is."""
        counts = ((self.tokens, "token"), (self.ablations, "measured ablation"))
        words = ", ".join(counted(count, what) for count, what in counts if count)
        self.status.show(f"{self.label}: {words or 'reading'}")

    def measured(self, masks: np.ndarray) -> None:
        """Count ablations that are being measured, in whatever thread that is."""
        self.ablations += len(masks)
        self.say_progress()

    def follow(self, event: Event) -> None:
        """Take what happened, and print what is due."""
        self._print_heading()
        if isinstance(event, EndEvent):
            self._waiting.clear()
            if self.verifies:
                self.show(*event.trace.spans)
        elif not isinstance(event, SpanEvent):
            self.tokens += 1
        elif self.verifies:
            self._waiting.append(event.span)
        else:
            self.show(event.span)
        self.say_progress()

    def show(self, *spans: Span) -> None:
        """Print spans, below the heading."""
        if self.silent:
            return
        self._print_heading()
        console = make_console()
        with self.status.paused():
            for span in spans:
                self._section = print_section(console, span.section, self._section)
                print_span(console, span, self.names)

    def show_waiting(self) -> None:
        """Print the spans that will not be verified any more, since the command was interrupted."""
        if self.silent or not self._waiting:
            return
        self.show(*self._waiting)
        note = "      not verified: interrupted before that was done"
        with self.status.paused():
            make_console().print(Text(note, style="dim"), soft_wrap=True)
        self._waiting.clear()

    def _print_heading(self) -> None:
        heading, self.heading = self.heading, ""
        if heading and not self.silent:
            with self.status.paused():
                line = Text(plain(heading), style="bold underline")
                make_console().print(line, soft_wrap=True)
