"""Thought and answer: two sections of a response, separated by a pair of markers.

A thinking model writes its thoughts between two markers, such as ``<think>`` and ``</think>``, and
then its answer. The markers belong to no span, and no span crosses one: a fresh segmenter begins
behind each of them. Some chat templates (Qwen3-VL-Thinking, GLM-4.1V-Thinking) open the thought in
the prompt, so that the response begins in it and holds the closing marker alone; a thought that is
never closed goes on to the end.

As with sentences, what is decided stands: of the end of the text only so much is held back as may
yet become a marker, so that the cut into pushes cannot matter. It follows that a closing marker
that nothing opened is a marker, but makes no thought of the text before it, which may be out
already; and that an opening marker inside a thought opens nothing more.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from omnitrace.errors import InputError
from omnitrace.segmentation.sentences import Segmenter, Unit
from omnitrace.types import Layout, PositionKind, Section

__all__ = ["SectionSegmenter", "Thinking"]


def _is_written(text: str) -> bool:
    """Whether a text is neither blank nor half of a surrogate pair, which no tokenizer takes."""
    return bool(text.strip()) and text == text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model marks its thoughts.

    Parameters
    ----------
    opening, closing:
        What stands before and after a thought, letter for letter.
    opened:
        Whether the response begins inside a thought; None looks whether the chat template has
        opened one at the end of the prompt.

    Raises
    ------
    InputError
        If a marker is empty, or one holds the other.
    """

    opening: str = "<think>"
    closing: str = "</think>"
    opened: bool | None = None

    def __post_init__(self) -> None:
        markers = (self.opening, self.closing)
        strings = all(isinstance(each, str) and _is_written(each) for each in markers)
        if not strings or self.opening in self.closing or self.closing in self.opening:
            raise InputError(
                f"the markers of a thought are {self.opening!r} and {self.closing!r}",
                legal="two texts, neither of them within the other",
            )
        if self.opened not in (None, True, False):
            raise InputError(f"opened is {self.opened!r}", legal="True, False or None")

    def begins_opened(self, tokenizer: Any, prompt_ids: Sequence[int], layout: Layout) -> bool:
        """Say whether a response to this prompt begins inside a thought.

        Only what the template put behind the last text and medium of the request is looked at:
        what a user writes opens nothing.
        """
        if self.opened is not None:
            return self.opened
        written = np.flatnonzero(layout.kinds != PositionKind.TEMPLATE)
        tail = prompt_ids[int(written[-1]) + 1 if len(written) else 0 :]
        text = tokenizer.decode(list(tail), skip_special_tokens=False)
        return bool(text.rfind(self.opening) > text.rfind(self.closing))

    def silent_tokens(self, tokenizer: Any) -> dict[int, Section]:
        """Return the markers that are special tokens, which decoded text leaves out.

        By token id, each with the section that begins behind it.
        """
        found: dict[int, Section] = {}
        behind: dict[str, Section] = {self.opening: "thought", self.closing: "answer"}
        for marker, section in behind.items():
            token_id = tokenizer.convert_tokens_to_ids(marker)  # of "unknown", where it is no token
            if token_id is None or tokenizer.convert_ids_to_tokens(token_id) != marker:
                continue
            if not tokenizer.decode([token_id], skip_special_tokens=True):
                found[int(token_id)] = section
        return found


class SectionSegmenter:
    """Segments a growing response, section by section.

    Parameters
    ----------
    thinking:
        The markers; None where the whole response is the answer.
    opened:
        Whether the response begins inside a thought.
    silent:
        Markers that the text does not show: token ids, with the section behind each.
    unit, language:
        As for :class:`~omnitrace.segmentation.sentences.Segmenter`.
    """

    def __init__(
        self,
        thinking: Thinking | None = None,
        *,
        opened: bool = False,
        silent: Mapping[int, Section] | None = None,
        unit: Unit = "sentence",
        language: str = "en",
    ) -> None:
        self.thinking = thinking
        self.opened = thinking is not None and opened
        self._silent: Final = dict(silent or {})
        self._markers: dict[str, Section] = {}
        if thinking is not None:
            self._markers = {thinking.opening: "thought", thinking.closing: "answer"}
        self._pattern = re.compile("|".join(map(re.escape, self._markers)) or r"(?!)")
        self._new: Callable[[], Segmenter] = lambda: Segmenter(unit=unit, language=language)
        self._segmenter = self._new()
        self._base = 0  # where the segmenter's text begins in the response
        self._end = 0  # how far the response is read, without what is held
        self._held = ""  # may yet become a marker
        self._starts = [0]
        self._marks: list[tuple[int, int]] = []
        self._sections: list[Section] = ["thought" if self.opened else "answer"]

    @classmethod
    def after_prompt(
        cls,
        thinking: Thinking | None,
        tokenizer: Any,
        prompt_ids: Sequence[int],
        layout: Layout,
        *,
        unit: Unit = "sentence",
        language: str = "en",
    ) -> SectionSegmenter:
        """Make the segmenter of a response to this prompt."""
        if thinking is None:
            return cls(unit=unit, language=language)
        return cls(
            thinking,
            opened=thinking.begins_opened(tokenizer, prompt_ids, layout),
            silent=thinking.silent_tokens(tokenizer),
            unit=unit,
            language=language,
        )

    @property
    def start(self) -> int:
        """Where the text begins that is in no span and no marker yet, as an index into the text."""
        return self._base + self._segmenter.start

    def record(self) -> dict[str, Any]:
        """Return what a trace's provenance says of the markers."""
        if self.thinking is None:
            return {}
        markers = {"opening": self.thinking.opening, "closing": self.thinking.closing}
        return {"thinking": {**markers, "opened": self.opened}}

    def push(self, text: str, token_id: int | None = None) -> list[tuple[int, int]]:
        """Read on, and return the character ranges of the spans that have ended.

        ``token_id`` is the token that the text comes from, where it may be a silent marker.
        """
        spans: list[tuple[int, int]] = []
        buffer = self._held + text
        self._held = ""
        while found := self._pattern.search(buffer):
            spans += self._read(buffer[: found.start()])
            spans += self._cross(found.end() - found.start(), self._markers[found[0]])
            buffer = buffer[found.end() :]
        kept = len(buffer) - self._begun(buffer)
        spans += self._read(buffer[:kept])
        self._held = buffer[kept:]
        if token_id in self._silent:
            spans += self._release()
            spans += self._cross(0, self._silent[token_id])
        return spans

    def finish(self) -> list[tuple[int, int]]:
        """Return the ranges of what is left: the text has ended."""
        return self._release() + self._close()

    def section_at(self, start: int) -> Section:
        """Return the section of the span that begins at this character."""
        return self._sections[bisect_right(self._starts, start) - 1]

    def section_of(self, start: int, end: int) -> Section | None:
        """Return the section of the characters ``[start, end)``; None where a marker lies there."""
        if any(start < there[1] and there[0] < end for there in self._marks):
            return None
        return self.section_at(start)

    def _begun(self, text: str) -> int:
        """Return how many of the last characters may be the beginning of a marker."""
        longest = max(map(len, self._markers), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(marker.startswith(text[-length:]) for marker in self._markers):
                return length
        return 0

    def _read(self, text: str) -> list[tuple[int, int]]:
        self._end += len(text)
        return self._moved(self._segmenter.push(text))

    def _release(self) -> list[tuple[int, int]]:
        """Read what was held: it has become no marker."""
        held, self._held = self._held, ""
        return self._read(held)

    def _close(self) -> list[tuple[int, int]]:
        return self._moved(self._segmenter.finish())

    def _cross(self, width: int, section: Section) -> list[tuple[int, int]]:
        """End the section at a marker of so many characters, and begin the one behind it."""
        spans = self._close()
        self._marks.append((self._end, self._end + width))
        self._end += width
        self._base = self._end
        self._segmenter = self._new()
        self._starts.append(self._base)
        self._sections.append(section)
        return spans

    def _moved(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        return [(self._base + start, self._base + end) for start, end in spans]
