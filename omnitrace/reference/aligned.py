"""Scenes whose evidence lies within whole units: the aligned world.

In the natural world (:mod:`omnitrace.reference.scenes`) things lie on no grid: an object on the
border of two cells is shown by both, a colour stands for 2.8 seconds. Here every object lies inside
one cell, every sound inside one second, and every colour of a video fills whole seconds, so that an
attribution is either right or wrong, however units and labels are compared.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Final, Literal

from omnitrace.reference.scenes import (
    IMAGE_SIZES,
    LONGEST,
    VIDEO_SIZES,
    Appearance,
    Audio,
    Image,
    ImageItem,
    SoundEvent,
    Video,
    draw_appearance,
    draw_event,
    draw_item,
)
from omnitrace.reference.words import PLACES, SHAPES

__all__ = ["CELL", "draw_aligned_audio", "draw_aligned_image", "draw_aligned_video"]

#: Pixels of a cell's side: the smallest region of an image's default grid, 2 x 2 vision tokens.
CELL: Final = 56
_EDGE: Final = 0.02  # seconds of silence at both ends of a second with a sound
_ROOM: Final = 1.0 - 2 * _EDGE
_SOON: Final = 0.18  # a number after a tone begins this early in its second, or it is not at once
_LONGEST_TONE: Final = 0.9


def draw_aligned_image(seed: int) -> Image:
    """Draw a picture whose items lie inside one cell of the vision grid each."""
    rng = random.Random(seed)
    width, height = rng.choice(IMAGE_SIZES)
    items: list[ImageItem] = []
    for number, place in enumerate(PLACES):
        if rng.random() < 0.2:
            continue
        radius = rng.randint(17, 24)
        x = _cell(rng, width, last=number % 2 == 1) + rng.randint(radius + 1, CELL - radius - 2)
        y = _cell(rng, height, last=number // 2 == 1) + rng.randint(radius + 1, CELL - radius - 2)
        items.append(draw_item(rng, place, (x, y), radius))
    return Image(seed, width, height, rng.randint(110, 170), tuple(items))


def _cell(rng: random.Random, length: int, *, last: bool) -> int:
    """Draw where a cell begins that lies wholly in the first or the last half of a side."""
    in_half = length // 2 // CELL
    cells = length // CELL
    return CELL * rng.choice(range(cells - in_half, cells) if last else range(in_half))


def draw_aligned_audio(seed: int, *, long: bool = False) -> Audio:
    """Draw tones and spoken digits, each inside a second of its own; as many as on no grid."""
    rng = random.Random(seed)
    events: list[SoundEvent] = []
    second = rng.randint(0, 9 if long else 1)
    for _ in range(rng.randint(7, 10) if long else rng.randint(3, 7)):
        if second > LONGEST:
            break
        after_tone = bool(events) and events[-1].kind == "tone"
        kind: Literal["tone", "digit"] = "tone" if rng.random() < 0.5 else "digit"
        events.append(_event(rng, second, kind, soon=after_tone))
        if long:
            near = kind == "tone" and rng.random() < 0.7
            second += 1 if near else rng.randint(3, 9)
        else:
            second += 1 if kind == "tone" or rng.random() < 0.7 else 2
    return Audio(seed, float(int(events[-1].end) + 1), tuple(events))


def _event(
    rng: random.Random, second: int, kind: Literal["tone", "digit"], *, soon: bool = False
) -> SoundEvent:
    """Draw a sound inside a second; with ``soon``, one that begins in its first part."""
    event = draw_event(rng, 0.0, kind)
    if kind == "tone":
        event = dataclasses.replace(event, end=min(event.end, _LONGEST_TONE))
    room = _ROOM - event.end
    start = second + _EDGE + rng.uniform(0.0, min(room, _SOON) if soon else room)
    return dataclasses.replace(event, start=start, end=start + event.end)


def draw_aligned_video(seed: int, *, long: bool = False, sounding: bool = False) -> Video:
    """Draw things that appear for whole seconds; in six of ten videos for one second each."""
    rng = random.Random(seed)
    width, height = rng.choice(VIDEO_SIZES)
    most = 1 if rng.random() < 0.6 else 3
    seen: list[Appearance] = []
    second = rng.randint(0, 1)
    for _ in range(rng.randint(5, 7) if long else rng.randint(2, 4)):
        if second > LONGEST:
            break
        shape = rng.choice(SHAPES)
        radius = rng.randint(12, 15)
        for part in range(2 if rng.random() < 0.35 else 1):
            end = second + rng.randint(1, most)
            before = seen[-1] if part else None
            seconds = float(second), float(end)
            seen.append(draw_appearance(rng, shape, seconds, radius, (width, height), before))
            second = end
        second += rng.randint(4, 14) if long else int(rng.random() < 0.6)
    duration = 2.0 * max(2, -(-int(seen[-1].end) // 2))
    sound = _track(rng, seed, duration) if sounding else None
    return Video(seed, duration, width, height, rng.randint(90, 150), tuple(seen), sound)


def _track(rng: random.Random, seed: int, seconds: float) -> Audio:
    kinds: list[Literal["tone", "digit"]] = ["digit"]
    kinds += ["tone"] * rng.randint(0, 2)
    rng.shuffle(kinds)
    places = sorted(rng.sample(range(int(seconds)), len(kinds)))
    events = [_event(rng, second, kind) for second, kind in zip(places, kinds, strict=True)]
    return Audio(seed, seconds, tuple(events))
