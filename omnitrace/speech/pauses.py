"""Where pauses part speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from omnitrace.errors import InputError
from omnitrace.speech.utterances import Utterance
from omnitrace.speech.voice import FRAME, RATE, voice_probabilities

__all__ = ["Stretches", "speech_between_pauses", "stretches_of"]

_SECONDS: Final = FRAME / RATE
# Speech begins at a frame of the first probability and lasts until one below the second: what
# hovers around one value would flicker.
_BEGINS, _ENDS = 0.5, 0.35


@dataclass(frozen=True, slots=True)
class Stretches:
    """How long stretches of speech are, in seconds.

    Parameters
    ----------
    pause:
        Silence of at least this length parts two stretches.
    shortest:
        A shorter stretch joins its nearer neighbour; a shorter silence belongs to what is said
        before it.
    longest:
        A longer stretch is parted where the voice is weakest.
    """

    pause: float = 0.1
    shortest: float = 0.3
    longest: float = 15.0

    def __post_init__(self) -> None:
        for name in ("pause", "shortest", "longest"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < float("inf"):
                raise InputError(f"{name} is {value!r}", legal="a positive number of seconds")
        if self.longest < 2 * self.shortest:
            raise InputError(
                f"shortest is {self.shortest:g} and longest {self.longest:g} s",
                legal="longest at least twice as long as shortest",
            )


def speech_between_pauses(samples: np.ndarray, stretches: Stretches) -> list[Utterance]:
    """Return the stretches of speech in a recording, without their words.

    Parameters
    ----------
    samples:
        Float32 ``[samples]`` at 16 kHz, one channel.
    stretches:
        How long they are.

    Returns
    -------
    list[Utterance]
        Ascending, apart from each other; empty where nobody speaks.
    """
    found = stretches_of(voice_probabilities(samples), stretches)
    whole = len(samples) / RATE
    return [Utterance(each.start, min(each.end, whole)) for each in found]


def stretches_of(probabilities: np.ndarray, stretches: Stretches) -> list[Utterance]:
    """Return the stretches of speech of float ``[frames]`` of 32 ms: how likely it is in each."""
    runs = _merged(_runs(probabilities), stretches)
    return [
        Utterance(start * _SECONDS, end * _SECONDS)
        for run in runs
        for start, end in _parted(probabilities, run, stretches)
    ]


def _runs(found: np.ndarray) -> list[tuple[int, int]]:
    """Return the frames ``[start, end)`` of uninterrupted speech."""
    runs, start = [], -1
    for index, probability in enumerate(found.tolist()):
        if start < 0 and probability >= _BEGINS:
            start = index
        elif start >= 0 and probability < _ENDS:
            runs.append((start, index))
            start = -1
    return [*runs, (start, len(found))] if start >= 0 else runs


def _merged(runs: list[tuple[int, int]], stretches: Stretches) -> list[tuple[int, int]]:
    """Join what no pause parts, then what is too short with its nearer neighbour."""
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and (start - joined[-1][1]) * _SECONDS < stretches.pause:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    index = 0
    while len(joined) > 1 and index < len(joined):
        start, end = joined[index]
        if (end - start) * _SECONDS >= stretches.shortest:
            index += 1
            continue
        before = start - joined[index - 1][1] if index else float("inf")
        after = joined[index + 1][0] - end if index + 1 < len(joined) else float("inf")
        at = index - 1 if before <= after else index
        joined[at : at + 2] = [(joined[at][0], joined[at + 1][1])]
        index = at
    return joined


def _parted(found: np.ndarray, run: tuple[int, int], stretches: Stretches) -> list[tuple[int, int]]:
    """Part a run that is too long where the voice is weakest, away from its ends."""
    start, end = run
    if (end - start) * _SECONDS <= stretches.longest:
        return [run]
    margin = max(1, round(stretches.shortest / _SECONDS), (end - start) // 4)
    cut = start + margin + int(np.argmin(found[start + margin : end - margin]))
    return [
        *_parted(found, (start, cut), stretches),
        *_parted(found, (cut, end), stretches),
    ]
