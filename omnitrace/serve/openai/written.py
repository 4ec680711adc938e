"""A response as a client sees it: thoughts and answer apart, without markers, cut at a stop text.

The same code reads a response token by token while it is written and whole when it is there, so
that the pieces of a stream joined are the texts of the response.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from omnitrace.segmentation.thinking import Thinking
from omnitrace.types import Section

__all__ = ["Piece", "Place", "Written"]

_BETWEEN: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that is added to a section."""

    section: Section
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Half-open characters of a section, as the client has it."""

    section: Section
    start: int
    end: int


@dataclass(slots=True)
class _Run:
    """Characters of the raw response that stand together in a section."""

    section: Section
    raw: int  # where they begin in the raw response
    start: int  # where in the section
    length: int


class Written:
    """Reads a response token by token.

    White space beside a marker is left out; a section that is taken up again after another goes on
    after a blank line.

    Parameters
    ----------
    thinking:
        The markers of thoughts; None where all is the answer.
    opened:
        Whether the response begins inside a thought.
    silent:
        Markers that the text does not show, by token id, with the section behind each.
    stops:
        Texts at the first of which the response ends; they are no part of it.
    """

    def __init__(
        self,
        thinking: Thinking | None = None,
        *,
        opened: bool = False,
        silent: Mapping[int, Section] | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        self._markers: dict[str, Section] = {}
        if thinking is not None:
            self._markers = {thinking.opening: "thought", thinking.closing: "answer"}
        self._marker = re.compile("|".join(map(re.escape, self._markers)) or r"(?!)")
        self._stop = re.compile("|".join(map(re.escape, stops)) or r"(?!)")
        self._stops = tuple(stops)
        self._silent = silent or {}
        self._section: Section = "thought" if thinking is not None and opened else "answer"
        self._fresh = self._section == "thought"  # behind a marker, where white space is dropped
        self._waiting = ""  # may yet become a stop text or a marker
        self._space = ""  # white space that is dropped if a marker follows
        self._raw = 0  # where what waits begins in the raw response, white space first
        self._texts: dict[Section, list[str]] = {"thought": [], "answer": []}
        self._lengths: dict[Section, int] = {"thought": 0, "answer": 0}
        self._runs: list[_Run] = []
        self.stopped = False

    @property
    def content(self) -> str:
        """The answer, as far as it is decided."""
        return "".join(self._texts["answer"])

    @property
    def reasoning(self) -> str:
        """The thoughts, as far as they are decided."""
        return "".join(self._texts["thought"])

    def push(self, text: str, token_id: int | None = None) -> list[Piece]:
        """Read a token, and return what can be shown."""
        if self.stopped:
            return []
        pieces = self._read(self._waiting + text, final=False)
        behind = None if token_id is None else self._silent.get(token_id)
        if behind is not None and not self.stopped:
            pieces += self._release()
            self._cross(0, behind)
        return pieces

    def finish(self) -> list[Piece]:
        """Return what is left at the end of the response."""
        pieces = [] if self.stopped else self._release()
        if self._section == "answer":
            pieces += self._add(self._space)
        self._space = ""
        return pieces

    def place(self, start: int, end: int) -> Place | None:
        """Return where characters of the raw response are; None where the client has none of them.

        Of characters that are not shown, those that are count.
        """
        found = [
            (run, max(start, run.raw), min(end, run.raw + run.length))
            for run in self._runs
            if run.raw < end and start < run.raw + run.length
        ]
        if not found:
            return None
        first, low, _ = found[0]
        last, _, high = [each for each in found if each[0].section == first.section][-1]
        return Place(first.section, first.start + low - first.raw, last.start + high - last.raw)

    def _release(self) -> list[Piece]:
        waiting, self._waiting = self._waiting, ""
        return self._read(waiting, final=True)

    def _read(self, buffer: str, *, final: bool) -> list[Piece]:
        """Show what is decided of a text, and keep the rest waiting."""
        stop = self._stop.search(buffer)
        if stop is not None:
            self.stopped = True
            buffer, final = buffer[: stop.start()], True
        kept = 0 if final else _begun(buffer, self._stops)
        held, buffer = buffer[len(buffer) - kept :], buffer[: len(buffer) - kept]
        pieces: list[Piece] = []
        while marker := self._marker.search(buffer):
            pieces += self._show(buffer[: marker.start()])
            self._cross(len(marker[0]), self._markers[marker[0]])
            buffer = buffer[marker.end() :]
        kept = 0 if final else _begun(buffer, self._markers)
        pieces += self._show(buffer[: len(buffer) - kept])
        self._waiting = buffer[len(buffer) - kept :] + held
        return pieces

    def _show(self, text: str) -> list[Piece]:
        """Add a text to the section, but for white space at its end, which a marker may follow."""
        if self._fresh:
            shown = text.lstrip()
            self._raw += len(text) - len(shown)
            text = shown
            if not text:
                return []
        text = self._space + text
        self._space = ""
        if self._markers:
            shown = text.rstrip()
            self._space = text[len(shown) :]
            text = shown
        return self._add(text)

    def _add(self, text: str) -> list[Piece]:
        if not text:
            return []
        between = _BETWEEN if self._fresh and self._lengths[self._section] else ""
        self._fresh = False
        start = self._lengths[self._section] + len(between)
        last = self._runs[-1] if self._runs and not between else None
        if last and last.section == self._section and last.raw + last.length == self._raw:
            last.length += len(text)
        else:
            self._runs.append(_Run(self._section, self._raw, start, len(text)))
        self._raw += len(text)
        self._texts[self._section].append(between + text)
        self._lengths[self._section] += len(between) + len(text)
        return [Piece(self._section, between + text)]

    def _cross(self, width: int, section: Section) -> None:
        """Go on behind a marker of so many characters."""
        self._raw += len(self._space) + width
        self._space = ""
        self._section = section
        self._fresh = True


def _begun(text: str, whole: Collection[str]) -> int:
    """Return how many of the last characters may be the beginning of one of some texts."""
    longest = max(map(len, whole), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(each.startswith(text[-length:]) for each in whole):
            return length
    return 0
