"""What is said, with its seconds."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Utterance", "Word", "joined_text", "said_in", "speakers_of"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is said from ``start`` to ``end`` (seconds), by whom where that is known.

    ``text`` is empty where only the seconds are known.
    """

    start: float
    end: float
    text: str = ""
    speaker: str | None = None

    @property
    def middle(self) -> float:
        """The middle, in seconds."""
        return (self.start + self.end) / 2


Word = Utterance
"""One word with its seconds; ``text`` holds its punctuation."""


def joined_text(utterances: Iterable[Utterance]) -> str:
    """Return what is said in several utterances, one after the other."""
    return " ".join(each.text for each in utterances if each.text)


def speakers_of(utterances: Iterable[Utterance]) -> str | None:
    """Return who speaks: the names in the order of their first words; None if no name is known."""
    names = dict.fromkeys(each.speaker for each in utterances if each.speaker)
    return ", ".join(names) or None


def said_in(
    spans: Sequence[tuple[float, float]], utterances: Sequence[Utterance]
) -> list[list[Utterance]]:
    """Share utterances among stretches of time: each goes where its middle lies, or nearest to it.

    Parameters
    ----------
    spans:
        ``(start, end)`` in seconds, ascending.
    utterances:
        What is said.

    Returns
    -------
    list[list[Utterance]]
        For each stretch, in order of time.
    """
    starts = [start for start, _ in spans]
    found: list[list[Utterance]] = [[] for _ in spans]
    for each in utterances if spans else ():
        at = max(0, bisect.bisect_right(starts, each.middle) - 1)
        beyond = each.middle - spans[at][1]
        if beyond > 0 and at + 1 < len(spans) and starts[at + 1] - each.middle < beyond:
            at += 1
        found[at].append(each)
    return found
