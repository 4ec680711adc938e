"""Which requests the reference model's accuracy is counted on, and how often a guess is right."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from omnitrace.errors import InputError
from omnitrace.reference.control import without_evidence
from omnitrace.reference.words import COLOURS, DIGITS, QUANTITIES, SHAPES, TONES
from omnitrace.reference.world import (
    CATEGORIES,
    THINKING_CATEGORIES,
    Category,
    Sample,
    ThinkingCategory,
    held_out_seed,
    make_sample,
)

__all__ = ["CHANCE", "KINDS", "THINKING_CHANCE", "THINKING_KINDS", "TIMED", "samples_of"]

#: How often the best guess is right that does not see the evidence; a refusal has none to see.
CHANCE: Final[dict[Category, float]] = {
    "text-weight": 1 / len(QUANTITIES),
    "text-price": 1 / len(QUANTITIES),
    "image-shape": 1 / len(SHAPES),
    "image-colour": 1 / len(COLOURS),
    "image-digit": 1 / len(DIGITS),
    "audio-tone": 1 / len(TONES),
    "audio-digit": 1 / len(DIGITS),
    "audio-after": 1 / len(DIGITS),
    "video-second": 1 / len(COLOURS),
    "video-object": 1 / len(COLOURS),
    "video-turn": 1 / (len(COLOURS) - 1),  # the colour before it can be seen, and is another one
    "video-digit": 1 / len(DIGITS),
    "two-sum": 1 / len(QUANTITIES),  # eleven, of two numbers that notes state
    "two-agree": 1 / 2,
}
THINKING_CHANCE: Final[dict[ThinkingCategory, float]] = {
    "think-add": 1 / len(QUANTITIES),  # as above; other sums are spread wider
    "think-compare": 1 / 2,
    "think-odd": 3 / 8,
    "think-colour": 1 / 3,
}
KINDS: Final = ("one", "several", "long", "evidence removed")
THINKING_KINDS: Final = ("steps, one", "steps, several", "steps, evidence removed")
#: What is asked about audio and videos.
TIMED: Final = tuple(each for each in CATEGORIES if each.startswith(("audio", "video")))
_SEVERAL: Final = (2, 3, 4, 5, 6)
_THOUGHT_OUT: Final = (2, 3)
_BLOCK: Final = 1_000_000  # seeds for one category, or one mixed kind


def samples_of(
    kind: str,
    samples: int,
    seed: int,
    *,
    numbered: Callable[[int], int] = held_out_seed,
    aligned: bool = False,
) -> Iterator[Sample]:
    """Draw the samples of a kind of request.

    Parameters
    ----------
    kind:
        One of :data:`KINDS` or :data:`THINKING_KINDS`. Where the evidence is removed, the samples
        are those of "one".
    samples:
        How many of each category; of "several" three times as many in all, with questions of any
        category, of "long" twice as many, with questions about audio and videos.
    seed:
        Another seed draws other samples.
    numbered:
        Gives a sample's seed for its number.
    aligned:
        Draw from the aligned world.
    """
    block = (len(CATEGORIES) + 2) * _BLOCK
    thinking = kind in THINKING_KINDS
    if thinking:
        kind = kind.removeprefix("steps, ")
    known: Sequence[Category | ThinkingCategory] = THINKING_CATEGORIES if thinking else CATEGORIES

    def seeds(place: int) -> Iterator[int]:
        return map(numbered, itertools.count(seed * block + place * _BLOCK))

    if kind == "several":
        counts = _THOUGHT_OUT if thinking else _SEVERAL
        for number, each in zip(range(3 * samples), seeds(len(CATEGORIES)), strict=False):
            count = counts[number % len(counts)]
            yield make_sample(each, questions=count, long=False, thinking=thinking, aligned=aligned)
    elif kind == "long":
        yield from itertools.islice(_long(seeds(len(CATEGORIES) + 1), aligned), 2 * samples)
    else:
        for place, category in enumerate(known):
            if kind == "one" or category in (CHANCE | THINKING_CHANCE):
                drawn = _asking(category, seeds(place), thinking, aligned)
                for sample in itertools.islice(drawn, samples):
                    yield sample if kind == "one" else without_evidence(sample)


def _asking(
    category: Category | ThinkingCategory, seeds: Iterator[int], thinking: bool, aligned: bool
) -> Iterator[Sample]:
    """Yield samples with one question of a category; most requests cannot be asked some."""
    for seed in seeds:
        try:
            yield make_sample(
                seed,
                questions=1,
                categories=(category,),
                long=False,
                thinking=thinking,
                aligned=aligned,
            )
        except InputError:
            continue


def _long(seeds: Iterator[int], aligned: bool) -> Iterator[Sample]:
    """Yield samples with up to three questions about audio and videos, one of them long."""
    for seed in seeds:
        try:
            yield make_sample(seed, questions=3, categories=TIMED, long=True, aligned=aligned)
        except InputError:
            continue
