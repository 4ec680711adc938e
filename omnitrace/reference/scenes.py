"""What the parts of a request show: notes, images, sounds and films, drawn from a seeded source.

Values are drawn independently of each other. A scene says what is there and where; the pixels and
samples are made in :mod:`omnitrace.reference.render`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, TypeAlias

from omnitrace.reference.words import CELLS, COLOURS, FILLERS, OBJECTS, SHAPES, TONES, WEIGHTS

__all__ = [
    "IMAGE_SIZE",
    "RGB",
    "Audio",
    "Fact",
    "Image",
    "Note",
    "Shape",
    "Tone",
    "Video",
    "draw_audio",
    "draw_image",
    "draw_note",
    "draw_video",
]

IMAGE_SIZE: Final = 112
CELL_SIZE: Final = IMAGE_SIZE // 2

RGB: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """An object of the note with its weight, at characters ``[start, end)`` of the note."""

    name: str
    weight: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Note:
    """A text part: facts among sentences that nobody asks about."""

    text: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A coloured shape; ``box`` is its hull in pixels, half-open."""

    cell: str
    shape: str
    colour: str
    rgb: RGB
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Image:
    """A square picture with one shape in each of its four cells."""

    background: RGB
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Tone:
    """One second of sound."""

    name: str
    hertz: float
    amplitude: float


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording, one tone a second."""

    tones: tuple[Tone, ...]


@dataclass(frozen=True, slots=True)
class Video:
    """A silent film, one colour a second."""

    colours: tuple[str, ...]
    rgbs: tuple[RGB, ...]


def draw_note(rng: random.Random) -> Note:
    """Draw three to eight facts with up to two fillers among them."""
    names = rng.sample(OBJECTS, rng.randint(3, 8))
    weights = {name: rng.choice(WEIGHTS) for name in names}
    sentences = [(f"The {name} weighs {weights[name]} grams.", name) for name in names]
    for filler in rng.sample(FILLERS, rng.randint(0, 2)):
        sentences.insert(rng.randint(0, len(sentences)), (filler, ""))
    facts: list[Fact] = []
    start = 0
    for sentence, name in sentences:
        if name:
            facts.append(Fact(name, weights[name], start, start + len(sentence)))
        start += len(sentence) + 1
    return Note(" ".join(sentence for sentence, _ in sentences), tuple(facts))


def _jitter(rng: random.Random, rgb: RGB, most: int = 14) -> RGB:
    red, green, blue = (min(255, max(0, c + rng.randint(-most, most))) for c in rgb)
    return red, green, blue


def draw_image(rng: random.Random) -> Image:
    """Draw a coloured shape into the middle of each cell, give or take two pixels."""
    grey = rng.randint(90, 200)
    shapes: list[Shape] = []
    for number, cell in enumerate(CELLS):
        radius = rng.randint(17, 21)
        room = 2
        x = (number % 2) * CELL_SIZE + CELL_SIZE // 2 + rng.randint(-room, room)
        y = (number // 2) * CELL_SIZE + CELL_SIZE // 2 + rng.randint(-room, room)
        colour = rng.choice(tuple(COLOURS))
        shapes.append(
            Shape(
                cell=cell,
                shape=rng.choice(SHAPES),
                colour=colour,
                rgb=_jitter(rng, COLOURS[colour]),
                box=(x - radius, y - radius, x + radius + 1, y + radius + 1),
            )
        )
    return Image((grey, grey, grey), tuple(shapes))


def draw_audio(rng: random.Random) -> Audio:
    """Draw three to six tones, each a little out of tune."""
    names = rng.choices(tuple(TONES), k=rng.randint(3, 6))
    return Audio(
        tuple(Tone(n, TONES[n] * rng.uniform(0.94, 1.06), rng.uniform(0.3, 0.8)) for n in names)
    )


def draw_video(rng: random.Random) -> Video:
    """Draw three to six colours, each a little off."""
    names = tuple(rng.choices(tuple(COLOURS), k=rng.randint(3, 6)))
    return Video(names, tuple(_jitter(rng, COLOURS[name]) for name in names))
