"""What the parts of a request show: notes, images, audio and videos, drawn from a seed.

Values are drawn independently of each other. A scene says what is there and where; the pixels and
samples are made in :mod:`omnitrace.reference.render`. Times are in seconds and fall on no grid.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from omnitrace.reference.assets import FONTS, SAMPLE_RATE, VOICES, spoken_digit
from omnitrace.reference.words import (
    ATTRIBUTES,
    CLAIMS,
    COLOURS,
    DIGITS,
    FILLERS,
    OBJECTS,
    PLACES,
    QUANTITIES,
    REMARKS,
    SHAPES,
    TONES,
)

__all__ = [
    "IMAGE_SIZES",
    "LONGEST",
    "RGB",
    "VIDEO_SIZES",
    "Appearance",
    "Audio",
    "Fact",
    "Image",
    "ImageItem",
    "Note",
    "SoundEvent",
    "Video",
    "draw_appearance",
    "draw_audio",
    "draw_event",
    "draw_image",
    "draw_item",
    "draw_note",
    "draw_video",
    "jitter",
]

RGB: TypeAlias = tuple[int, int, int]
BoxTuple: TypeAlias = tuple[int, int, int, int]

# Width and height in pixels; multiples of the 28 pixels of a merged vision token.
IMAGE_SIZES: Final = ((112, 112), (168, 112), (112, 168), (168, 168), (224, 168))
VIDEO_SIZES: Final = ((56, 56), (84, 56))
LONGEST: Final = 68.0  # seconds; nothing new begins in audio or a video later than that
_STEP: Final = 0.04  # seconds of an audio token; audio lasts a whole number of them


@dataclass(frozen=True, slots=True)
class Fact:
    """What a note says of an object, at characters ``[start, end)`` of the note."""

    name: str
    attribute: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Note:
    """A text part: facts among sentences that state none, or false ones as hearsay."""

    text: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class ImageItem:
    """A coloured shape or digit of an image; ``box`` is its hull in pixels, half-open."""

    kind: Literal["shape", "digit"]
    name: str
    colour: str
    rgb: RGB
    place: str
    box: BoxTuple
    font: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """A picture with at most one item in each quarter, anywhere in it."""

    seed: int
    width: int
    height: int
    grey: int
    items: tuple[ImageItem, ...]


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """A tone or a spoken digit, played in ``[start, end)`` seconds."""

    kind: Literal["tone", "digit"]
    name: str
    start: float
    end: float
    amplitude: float
    hertz: float = 0.0
    voice: int = 0


@dataclass(frozen=True, slots=True)
class Audio:
    """Events in the order of time, silence between them."""

    seed: int
    seconds: float
    events: tuple[SoundEvent, ...]


@dataclass(frozen=True, slots=True)
class Appearance:
    """A shape that moves from ``path[:2]`` to ``path[2:]`` (its middle) in ``[start, end)``.

    ``turns`` says that it carries on the appearance before it, in a new colour.
    """

    shape: str
    colour: str
    rgb: RGB
    start: float
    end: float
    path: tuple[float, float, float, float]
    radius: int
    turns: bool = False


@dataclass(frozen=True, slots=True)
class Video:
    """A video in which one thing at a time appears; ``sound`` is its track, if it has one."""

    seed: int
    seconds: float
    width: int
    height: int
    grey: int
    appearances: tuple[Appearance, ...]
    sound: Audio | None


def draw_note(seed: int, *, claims: tuple[str, ...] = (), paired: bool = False) -> Note:
    """Draw two to sixteen facts; remarks, fillers and false claims stand among them.

    ``claims`` are false statements about other parts ("the digit in red is four") that the note
    passes on as hearsay; a third of the notes has a claim about one of its own facts besides.
    Half of the things have both their facts in the note, or all if ``paired``.
    """
    rng = random.Random(seed)
    count = rng.randint(2, 5) if rng.random() < 0.75 else rng.randint(6, 8)
    stated: list[tuple[str, str]] = []
    for name in rng.sample(OBJECTS, count):
        # With both facts in the note, the thing alone does not say which one is meant.
        both = rng.random() < 0.5 or paired
        attributes = tuple(ATTRIBUTES) if both else (rng.choice(tuple(ATTRIBUTES)),)
        stated += [(name, attribute) for attribute in attributes]
    rng.shuffle(stated)
    values = {key: rng.choice(QUANTITIES) for key in stated}
    sentences: list[tuple[str, tuple[str, str] | None]] = [
        (f"{_fact_sentence(key, values[key], 'The')}.", key) for key in stated
    ]
    others = rng.sample(FILLERS, rng.randint(0, 2))
    others += [
        rng.choice(REMARKS).format(name=rng.choice(OBJECTS)) for _ in range(rng.randint(0, 2))
    ]
    own = (
        [_fact_sentence(rng.choice(stated), rng.choice(QUANTITIES), "the")]
        if rng.random() < 0.33
        else []
    )
    others += [rng.choice(CLAIMS).format(claim=claim) for claim in (*own, *claims)]
    for sentence in others:
        sentences.insert(rng.randint(0, len(sentences)), (sentence, None))
    facts: list[Fact] = []
    start = 0
    for sentence, key in sentences:
        if key is not None:
            facts.append(Fact(*key, values[key], start, start + len(sentence)))
        start += len(sentence) + 1
    return Note(" ".join(sentence for sentence, _ in sentences), tuple(facts))


def _fact_sentence(key: tuple[str, str], value: str, article: str) -> str:
    verb, unit = ATTRIBUTES[key[1]]
    return f"{article} {key[0]} {verb} {value} {unit}"


def jitter(rng: random.Random, rgb: RGB, most: int = 14) -> RGB:
    """Draw a colour near another one."""
    red, green, blue = (min(255, max(0, c + rng.randint(-most, most))) for c in rgb)
    return red, green, blue


def draw_image(seed: int, *, crowded: bool = False) -> Image:
    """Draw a picture; four fifths of its quarters have an item, all of them if ``crowded``."""
    rng = random.Random(seed)
    width, height = rng.choice(IMAGE_SIZES)
    items: list[ImageItem] = []
    for number, place in enumerate(PLACES):
        if not crowded and rng.random() < 0.2:
            continue
        radius = rng.randint(17, 24)
        left, top = (number % 2) * width // 2, (number // 2) * height // 2
        x = left + rng.randint(radius + 1, width // 2 - radius - 2)
        y = top + rng.randint(radius + 1, height // 2 - radius - 2)
        shapes = 0.35 if crowded else 0.5
        items.append(draw_item(rng, place, (x, y), radius, shapes=shapes))
    return Image(seed, width, height, rng.randint(110, 170), tuple(items))


def draw_item(
    rng: random.Random, place: str, middle: tuple[int, int], radius: int, *, shapes: float = 0.5
) -> ImageItem:
    """Draw what is around a pixel: a shape, with a chance of ``shapes``, or a digit."""
    x, y = middle
    colour = rng.choice(tuple(COLOURS))
    is_shape = rng.random() < shapes
    return ImageItem(
        kind="shape" if is_shape else "digit",
        name=rng.choice(SHAPES) if is_shape else rng.choice(DIGITS),
        colour=colour,
        rgb=jitter(rng, COLOURS[colour]),
        place=place,
        box=(x - radius, y - radius, x + radius + 1, y + radius + 1),
        font=rng.randrange(len(FONTS)),
    )


def draw_audio(seed: int, *, long: bool = False) -> Audio:
    """Draw three to seven tones and spoken digits in 2 to 10 s, or up to ten in up to 70 s."""
    rng = random.Random(seed)
    events: list[SoundEvent] = []
    pause = rng.uniform(4.0, 9.0) if long else 0.45
    time = rng.uniform(0.05, 2 * pause)
    for _ in range(rng.randint(7, 10) if long else rng.randint(3, 7)):
        if time > LONGEST:
            break
        events.append(draw_event(rng, time, "tone" if rng.random() < 0.5 else "digit"))
        # What follows a tone at once belongs to it; long audio is silent after each pair.
        near = not long or (events[-1].kind == "tone" and rng.random() < 0.7)
        time = events[-1].end + (rng.uniform(0.1, 0.6) if near else rng.uniform(0.5, 2.0) * pause)
    return Audio(seed, _whole(events[-1].end + rng.uniform(0.1, 0.6)), tuple(events))


def draw_event(rng: random.Random, start: float, kind: Literal["tone", "digit"]) -> SoundEvent:
    """Draw a tone of up to a second, or a spoken digit, that begins at ``start``."""
    amplitude = rng.uniform(0.35, 0.8)
    if kind == "tone":
        name = rng.choice(tuple(TONES))
        end = start + rng.uniform(0.5, 1.0)
        return SoundEvent(kind, name, start, end, amplitude, TONES[name] * rng.uniform(0.94, 1.06))
    digit, voice = rng.randrange(len(DIGITS)), rng.randrange(len(VOICES))
    end = start + len(spoken_digit(voice, digit)) / SAMPLE_RATE
    return SoundEvent(kind, DIGITS[digit], start, end, amplitude, voice=voice)


def _whole(seconds: float) -> float:
    return round(round(seconds / _STEP) * _STEP, 2)


def draw_video(seed: int, *, long: bool = False, sounding: bool = False) -> Video:
    """Draw two to four things in 4 to 22 s, or up to seven in up to 74 s, whole pairs of seconds.

    With ``sounding``, one digit is spoken somewhere, and up to two tones sound.
    """
    rng = random.Random(seed)
    width, height = rng.choice(VIDEO_SIZES)
    seen: list[Appearance] = []
    time = rng.uniform(0.0, 0.5)
    for _ in range(rng.randint(5, 7) if long else rng.randint(2, 4)):
        if time > LONGEST:
            break
        shape = rng.choice(SHAPES)
        parts = 2 if rng.random() < 0.35 else 1
        radius = rng.randint(12, 15)
        for part in range(parts):
            end = time + rng.uniform(1.3, 3.0)
            before = seen[-1] if part else None
            seen.append(draw_appearance(rng, shape, (time, end), radius, (width, height), before))
            time = end
        time += rng.uniform(4.0, 14.0) if long else rng.uniform(0.1, 0.8)
    seconds = 2.0 * max(2, -(-int(seen[-1].end * 100 + 10) // 200))
    sound = _track(rng, seed, seconds) if sounding else None
    return Video(seed, seconds, width, height, rng.randint(90, 150), tuple(seen), sound)


def draw_appearance(
    rng: random.Random,
    shape: str,
    seconds: tuple[float, float],
    radius: int,
    size: tuple[int, int],
    before: Appearance | None,
) -> Appearance:
    """Draw a moving shape; after ``before`` it turns to a new colour, from where that ended."""
    colour = rng.choice([c for c in COLOURS if before is None or c != before.colour])
    begin = _spot(rng, *size, radius) if before is None else before.path[2:]
    path = (*begin, *_spot(rng, *size, radius))
    rgb = jitter(rng, COLOURS[colour])
    return Appearance(shape, colour, rgb, *seconds, path, radius, turns=before is not None)


def _spot(rng: random.Random, width: int, height: int, radius: int) -> tuple[float, float]:
    return rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)


def _track(rng: random.Random, seed: int, seconds: float) -> Audio:
    kinds: list[Literal["tone", "digit"]] = ["digit", *["tone"] * rng.randint(0, 2)]  # type: ignore[list-item]
    rng.shuffle(kinds)
    room = seconds / len(kinds)
    events = [
        draw_event(rng, i * room + rng.uniform(0.0, room - 1.05), k) for i, k in enumerate(kinds)
    ]
    return Audio(seed, seconds, tuple(events))
