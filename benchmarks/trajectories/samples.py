"""Samples of the reference world whose evidence is whole, weakened by noise, or partly removed.

So a model gives right and wrong responses to requests of one kind, with as many questions each.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from omnitrace.reference.control import without_evidence
from omnitrace.reference.questions import Scene
from omnitrace.reference.scenes import RGB, Appearance, Audio, Image, ImageItem, Video
from omnitrace.reference.training.accuracy import score, score_sentences
from omnitrace.reference.words import UNKNOWN
from omnitrace.reference.world import Sample, Statement, held_out_seed, make_sample, validation_seed

__all__ = ["CONDITIONS", "Asked", "draw_asked", "is_right", "weakened"]

WHOLE, WEAKENED, REMOVED = "whole", "weakened", "partly removed"
CONDITIONS: Final = (WHOLE, WEAKENED, REMOVED)

# How much of the evidence's strength is lost: enough that a model errs, not always.
_LOST: Final = (0.1, 0.7)
_COLOUR_NOISE: Final = 60.0  # standard deviation of a channel, at full loss
_FROM: Final = 3_000_000  # numbers of samples, apart from those of the other benchmarks

_Coloured = TypeVar("_Coloured", ImageItem, Appearance)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, what was done to its evidence, and the statements whose evidence is gone."""

    sample: Sample
    condition: str
    removed: tuple[bool, ...]


def draw_asked(
    count: int, questions: int, *, validation: bool, thinking: bool = False
) -> list[Asked]:
    """Draw requests with the same number of questions, the conditions in turn.

    Parameters
    ----------
    count:
        How many.
    questions:
        Questions of each request; samples whose parts answer fewer are passed over.
    validation:
        Draw from the seeds for choices, not from those for figures.
    thinking:
        Questions of several steps. They have no answer where the evidence is gone, so that none is
        removed.
    """
    conditions = CONDITIONS[:2] if thinking else CONDITIONS
    seed_of = validation_seed if validation else held_out_seed
    drawn: list[Asked] = []
    number = _FROM
    while len(drawn) < count:
        sample = make_sample(seed_of(number), questions=questions, long=False, thinking=thinking)
        number += 1
        if sum(bool(each.question) for each in sample.statements) == questions:
            drawn.append(_treated(sample, conditions[len(drawn) % len(conditions)]))
    return drawn


def _treated(sample: Sample, condition: str) -> Asked:
    count = len(sample.statements)
    rng = random.Random(f"trajectories {sample.seed}")
    if condition == WEAKENED:
        return Asked(weakened(sample, rng.uniform(*_LOST)), condition, (False,) * count)
    if condition == WHOLE:
        return Asked(sample, condition, (False,) * count)
    chosen = rng.sample(range(count), max(1, count // 4))
    some = dataclasses.replace(sample, statements=tuple(sample.statements[i] for i in chosen))
    # What one statement loses, another may rest on too.
    gone = {source for statement in some.statements for source in statement.sources}
    bare = dataclasses.replace(sample, scenes=without_evidence(some).scenes)
    return Asked(bare, condition, tuple(bool(gone & {*s.sources}) for s in sample.statements))


def weakened(sample: Sample, lost: float) -> Sample:
    """Weaken all that is shown and heard; notes keep their words.

    Colours go to the ground's grey and get noise of their own, sounds grow faint in a noise that
    stays as it is.

    Parameters
    ----------
    sample:
        The sample.
    lost:
        Share of the strength that is lost, in [0, 1].
    """
    rng = random.Random(f"weakened {sample.seed}")
    scenes = tuple(_weak(scene, lost, rng) for scene in sample.scenes)
    return dataclasses.replace(sample, scenes=scenes)


def _weak(scene: Scene, lost: float, rng: random.Random) -> Scene:
    if isinstance(scene, Image):
        items = tuple(_paled(item, scene.grey, lost, rng) for item in scene.items)
        return dataclasses.replace(scene, items=items)
    if isinstance(scene, Audio):
        events = tuple(
            dataclasses.replace(event, amplitude=event.amplitude * (1 - lost))
            for event in scene.events
        )
        return dataclasses.replace(scene, events=events)
    if isinstance(scene, Video):
        seen = tuple(_paled(each, scene.grey, lost, rng) for each in scene.appearances)
        sound = None if scene.sound is None else _weak(scene.sound, lost, rng)
        return dataclasses.replace(scene, appearances=seen, sound=sound)
    return scene


def _paled(each: _Coloured, grey: int, lost: float, rng: random.Random) -> _Coloured:
    channels = [
        grey + (1 - lost) * (value - grey) + rng.gauss(0, _COLOUR_NOISE * lost)
        for value in each.rgb
    ]
    red, green, blue = (min(255, max(0, round(channel))) for channel in channels)
    rgb: RGB = (red, green, blue)
    return dataclasses.replace(each, rgb=rgb)


def is_right(asked: Asked, answer: str) -> bool:
    """Say whether every statement of a response is right; thoughts are not looked at.

    Where the evidence was removed, "unknown" is right, and so is the value by chance.
    """
    statements = asked.sample.statements
    if statements[0].section == "thought":
        final = [each for each in statements if each.section == "answer"]
        return all(score_sentences(final, answer))
    right = score(statements, answer)
    honest = score([_unknown(each) for each in statements], answer)
    return all(
        value or (gone and unknown)
        for value, unknown, gone in zip(right, honest, asked.removed, strict=True)
    )


def _unknown(statement: Statement) -> Statement:
    *others, last = statement.values
    values: Sequence = (*others, dataclasses.replace(last, text=UNKNOWN))
    return dataclasses.replace(statement, values=tuple(values))
