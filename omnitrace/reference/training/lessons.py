"""What each stage of training asks, and about what.

All samples of a batch have parts of the same kinds, so that they are about equally long and little
is padded; batches differ.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Final

import torch

from omnitrace.errors import InputError
from omnitrace.reference.training.requests import TIMED
from omnitrace.reference.training.tensors import EncodedSample
from omnitrace.reference.words import SYSTEM_PROMPT
from omnitrace.reference.world import (
    MODALITIES,
    Category,
    Sample,
    ThinkingCategory,
    make_sample,
    training_seed,
)
from omnitrace.types import Modality

__all__ = ["Lesson", "draw_lesson", "draw_samples", "repeated_samples"]

# Tokens that a part of each kind takes on average, and a question with its answer.
_TOKENS: Final[dict[str, int]] = {"text": 90, "image": 35, "audio": 135, "video": 65}
_TRACK, _LONG, _ASKED, _FRAME = 290, 600, 24, 20
_REASONED: Final = 70  # a question of several steps, with its thoughts
_REPEATED: Final = 52  # tokens of random words written twice, on average
_SEEDS: Final = 64  # of a batch
POOL: Final = 2048  # media of each kind that training draws from

_FACTS: Final[tuple[Category, ...]] = ("text-weight", "text-price")

# What is learnt last, and the parts that show it.
_DRILLS: Final[tuple[tuple[tuple[Category, ...], tuple[Modality, ...]], ...]] = (
    (("text-weight", "text-price", "refusal"), ("text",)),
    (_FACTS, ("text",)),
    (_FACTS, ("text", "text")),
    (("image-digit", "image-shape", "image-colour", "refusal"), ("image",)),
    (("audio-after", "audio-digit", "refusal"), ("audio",)),
    (("video-turn", "video-object", "video-second", "refusal"), ("video",)),
    (("video-turn", "video-object"), ("video",)),
    (("video-turn", "video-object"), ("video", "image")),
    (("video-turn", "video-object"), ("video", "video")),
    (("two-sum", "two-agree"), ("text", "text")),
    (("two-sum", "two-agree"), ("text", "image")),
    (("two-sum", "two-agree"), ("text", "audio")),
    (("two-sum", "two-agree"), ("image", "audio")),
    (("two-agree",), ("image", "video")),
)
# Parts of which something is asked for that they do not state.
_REFUSED: Final[tuple[tuple[Modality, ...], ...]] = (
    *((modality,) for modality in MODALITIES),
    ("text", "image"),
    ("audio", "video"),
    ("text", "audio", "video"),
)
# Requests in which numbers can be put together, and how often a batch is of one; a video has
# numbers if it has sound.
_STEPPED: Final[tuple[tuple[tuple[Modality, ...], int], ...]] = (
    (("text",), 3),
    (("text", "text"), 2),
    (("image",), 3),
    (("text", "image"), 4),
    (("text", "audio"), 3),
    (("image", "audio"), 3),
    (("text", "image", "audio"), 2),
    (("text", "video"), 2),
    (("image", "video"), 1),
)
_ORDINARY: Final = 0.15  # of the batches ask what needs no steps
_DRILLED: Final = {"mix": 0.5, "end": 0.4}  # share of the batches of a stage
_LASTING: Final = {"mix": 0.15, "end": 0.3}  # those that ask about one long medium
_UNSTATED: Final = 0.1  # of the last batches ask only for what is not stated
_ALIGNED: Final = 0.5  # of the batches are of the aligned world


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the samples of a batch have in common."""

    order: tuple[Modality, ...]
    questions: tuple[int, int]
    categories: tuple[Category | ThinkingCategory, ...] | None = None
    long: bool = False
    sounding: bool = False
    paired: bool = False
    thinking: bool = False
    aligned: bool = False

    @property
    def tokens(self) -> int:
        """About how many tokens a sample has."""
        parts = sum(_TOKENS[part] for part in self.order)
        parts += self.order.count("video") * _TRACK * self.sounding + _LONG * self.long
        asked = _REASONED if self.thinking else _ASKED
        return parts + _FRAME + asked * sum(self.questions) // 2


def draw_lesson(stage: str, rng: random.Random) -> Lesson:
    """Draw a lesson of a stage, in the natural world or the aligned one."""
    if stage in ("steps", "think"):
        return _stepped(stage, rng)
    if stage in ("text", "facts"):
        notes: tuple[Modality, ...] = ("text", "text") if rng.random() < 1 / 3 else ("text",)
        return Lesson(notes, (6, 12), _FACTS if stage == "facts" else None, paired=stage == "facts")
    sounding = rng.random() < (0.4 if stage == "end" else 0.2)
    aligned = rng.random() < _ALIGNED
    return dataclasses.replace(_mixed(stage, rng), sounding=sounding, aligned=aligned)


def _mixed(stage: str, rng: random.Random) -> Lesson:
    """Draw a lesson about any modality."""
    if stage == "single":
        modality = rng.choices(MODALITIES, weights=(2, 3, 3, 3))[0]
        return Lesson((modality,), (4, 10))
    if rng.random() < _LASTING.get(stage, 0.0):
        return _lasting(stage, rng)
    if rng.random() < _DRILLED.get(stage, 0.0):
        return _drilled(stage, rng)
    # Attention is most of a step's time and grows with the square of the length: most of what is
    # learnt is learnt from two or three parts, and requests of any number come last.
    chance, again = (0.7, 1 / 6) if stage == "end" else (0.5, 1 / 10)
    drawn: list[Modality] = [m for m in MODALITIES if rng.random() < chance]
    drawn += [m for m in drawn if rng.random() < again]
    order = tuple(rng.sample(drawn, len(drawn))) or (rng.choice(MODALITIES),)
    return Lesson(order, (1, 6) if rng.random() < 0.4 else (4, 10))


def _lasting(stage: str, rng: random.Random) -> Lesson:
    """Draw a lesson about one long medium; at the end other parts may stand around it."""
    lasting: Modality = rng.choice(("audio", "video"))
    chance = 0.3 if stage == "end" and rng.random() < 0.5 else 0.0
    others = tuple(m for m in MODALITIES if m != lasting and rng.random() < chance)
    order = tuple(rng.sample((lasting, *others), 1 + len(others)))
    return Lesson(order, (4, 12), TIMED if others else None, long=True)


def _drilled(stage: str, rng: random.Random) -> Lesson:
    """Draw a lesson about what is learnt last; sums and comparisons are asked for alone, too."""
    if stage == "end" and rng.random() < _UNSTATED / _DRILLED[stage]:
        order = rng.choice(_REFUSED)
        return Lesson(tuple(rng.sample(order, len(order))), (1, 6), ("refusal",))
    categories, needed = rng.choice(_DRILLS)
    others = tuple(m for m in MODALITIES if m not in needed and rng.random() < 0.25)
    order = tuple(rng.sample(needed + others, len(needed + others)))
    asked = (4, 10)
    if categories[0].startswith("two"):
        asked = (1, 2) if rng.random() < 0.5 else (4, 8)
    return Lesson(order, asked, categories, paired=rng.random() < 0.5)


def _stepped(stage: str, rng: random.Random) -> Lesson:
    """Draw a lesson in several steps; before "think" it is about notes alone."""
    if stage == "think" and rng.random() < _ORDINARY:
        return draw_lesson("mix", rng)
    orders = [order for order, _ in _STEPPED]
    weights = [weight for _, weight in _STEPPED]
    order = orders[0] if stage == "steps" else rng.choices(orders, weights)[0]
    order = tuple(rng.sample(order, len(order)))
    asked = (1, 3) if rng.random() < 0.6 else (3, 8)
    # Of an image alone only one question can be asked in most cases.
    asked = (1, 3) if order == ("image",) else asked
    # What is learnt last: which of two phrases to say, in the answer, and what has a colour, which
    # few requests can ask for.
    drilled: tuple[ThinkingCategory, ...] | None = None
    if stage == "think" and order.count("image") == 1 and rng.random() < 0.4:
        drilled = ("think-colour",)
    elif stage == "think" and rng.random() < 0.3:
        drilled = ("think-compare",)
    return Lesson(order, asked, drilled, sounding="video" in order, paired=True, thinking=True)


def repeated_samples(
    run: int, number: int, tokens: int, vocabulary: int, width: int
) -> list[EncodedSample]:
    """Draw batch ``number`` of random words written twice; the loss is on the second copy."""
    rng = random.Random(f"induction-{run}-{number}")
    found: list[EncodedSample] = []
    for _ in range(max(1, tokens // _REPEATED)):
        length = rng.randint(12, 40)
        copy = [rng.randrange(vocabulary) for _ in range(length)]
        weights = [0.0] * (length + 1) + [1.0] * (length - 1)
        positions = torch.arange(2 * length).expand(3, -1)
        media = torch.empty((0, width))
        ids = torch.tensor(copy + copy)
        found.append(EncodedSample(ids, torch.tensor(weights), positions, media))
    return found


def draw_samples(
    stage: str, run: int, number: int, tokens: int
) -> tuple[list[Sample], list[str | None]]:
    """Draw the samples of batch ``number``, about ``tokens`` tokens in all, and system prompts."""
    rng = random.Random(f"{stage}-{run}-{number}")
    lesson = draw_lesson(stage, rng)
    count = max(2, min(_SEEDS, tokens // lesson.tokens))
    samples: list[Sample] = []
    for index in range(_SEEDS):
        if len(samples) == count:
            break
        seed = training_seed(run, number * _SEEDS + index)
        kwargs = {
            "questions": rng.randint(*lesson.questions),
            "order": lesson.order,
            "long": lesson.long,
            "sounding": lesson.sounding,
            "pool": POOL,
            "paired": lesson.paired and (not lesson.thinking or rng.random() < 0.5),
            "thinking": lesson.thinking,
            "aligned": lesson.aligned,
        }
        try:
            samples.append(make_sample(seed, categories=lesson.categories, **kwargs))  # type: ignore[arg-type]
        except InputError:  # nothing of these categories can be asked about what was drawn
            if lesson.thinking:
                continue
            samples.append(make_sample(seed, **kwargs))  # type: ignore[arg-type]
    return samples, [SYSTEM_PROMPT if rng.random() < 0.1 else None for _ in samples]
