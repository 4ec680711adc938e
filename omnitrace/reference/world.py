"""The generated world: requests whose evidence is known for every word of the answer.

A request is one user message. Its content parts are any of a note (text), an image, an audio and a
video, each at most once and in any order, and last a text part with one or more questions. The
grammar, with ``a b c`` for one of the words in :mod:`omnitrace.reference.words`::

    note      sentences, joined by one space: "The OBJECT weighs WEIGHT grams." or a filler
    image     four cells (top left, top right, bottom left, bottom right), a coloured shape in each
    audio     three to six seconds, one tone in each; seconds count from one
    video     three to six seconds, one colour in each; silent
    question  joined by one space                        answer sentence, in the questions' order
    text          "What does the OBJECT weigh?"              "The OBJECT weighs WEIGHT grams."
    image-colour  "What is the colour at the CELL?"          "The colour at the CELL is COLOUR."
    image-shape   "What is the shape at the CELL?"           "The shape at the CELL is a SHAPE."
    audio         "What is the sound in second N?"           "The sound in second N is TONE."
    video         "What colour is the video in second N?"    "The video in second N is COLOUR."

Every value is drawn independently, so that no value tells anything of another and a question whose
evidence is taken away can be answered by chance only. Seeds below :data:`HELD_OUT` train, seeds
from it on test: :func:`training_seed` and :func:`held_out_seed` never meet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from omnitrace.errors import InputError
from omnitrace.reference.scenes import (
    Audio,
    Image,
    Note,
    Video,
    draw_audio,
    draw_image,
    draw_note,
    draw_video,
)
from omnitrace.reference.words import SECONDS
from omnitrace.types import Modality

__all__ = [
    "CATEGORIES",
    "HELD_OUT",
    "MEDIA_NAMES",
    "MODALITIES",
    "BoxEvidence",
    "Category",
    "Evidence",
    "Sample",
    "SecondsEvidence",
    "Statement",
    "TextEvidence",
    "held_out_seed",
    "make_sample",
    "training_seed",
]

Category: TypeAlias = Literal["text", "image-colour", "image-shape", "audio", "video"]
CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)
MODALITIES: Final[tuple[Modality, ...]] = ("text", "image", "audio", "video")

HELD_OUT: Final = 2**40
MEDIA_NAMES: Final = {"image": "image.png", "audio": "audio.wav", "video": "video.mp4"}


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """Characters ``[start, end)`` of a text part."""

    message: int
    part: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class BoxEvidence:
    """The box ``(x0, y0, x1, y1)`` of an image part, in pixels."""

    message: int
    part: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class SecondsEvidence:
    """Seconds ``[start_seconds, end_seconds)`` of an audio or video part."""

    message: int
    part: int
    start_seconds: float
    end_seconds: float


Evidence: TypeAlias = TextEvidence | BoxEvidence | SecondsEvidence


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of the answer, its value word and the evidence for that word.

    ``start``/``end`` and ``value_start``/``value_end`` are characters of the answer.
    """

    question: str
    text: str
    start: int
    end: int
    value: str
    value_start: int
    value_end: int
    category: Category
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A request, what its media show, and the answer with evidence.

    ``order`` names the content parts before the questions. Media that are absent are ``None``.
    """

    seed: int
    order: tuple[Modality, ...]
    note: Note | None
    image: Image | None
    audio: Audio | None
    video: Video | None
    statements: tuple[Statement, ...]

    @property
    def id(self) -> str:
        """Name of the sample, from its seed."""
        return f"reference-{self.seed}"

    @property
    def question(self) -> str:
        """The last text part: all questions."""
        return " ".join(statement.question for statement in self.statements)

    @property
    def answer(self) -> str:
        """The right answer: one sentence a question."""
        return " ".join(statement.text for statement in self.statements)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The request in the format of chat templates, media paths relative to its folder."""
        content: list[dict[str, Any]] = []
        for modality in self.order:
            if modality == "text":
                content.append({"type": "text", "text": self.note.text if self.note else ""})
            else:
                content.append({"type": modality, modality: MEDIA_NAMES[modality]})
        content.append({"type": "text", "text": self.question})
        return [{"role": "user", "content": content}]


@dataclass(frozen=True, slots=True)
class _Query:
    """A question that the request's parts can answer."""

    category: Category
    question: str
    before: str
    value: str
    after: str
    evidence: Evidence


def training_seed(run: int, number: int) -> int:
    """Seed of training sample ``number`` of training run ``run``; always below held-out ones."""
    if not (0 <= run < 2**8 and 0 <= number < 2**32):
        raise InputError(
            f"training run {run}, sample {number}", legal="run in [0, 2**8), sample in [0, 2**32)"
        )
    return run * 2**32 + number


def held_out_seed(number: int) -> int:
    """Seed of held-out sample ``number``, which no training run can draw."""
    if number < 0:
        raise InputError(f"held-out sample {number}", legal="a number from 0 on")
    return HELD_OUT + number


def make_sample(
    seed: int,
    *,
    questions: int | None = None,
    order: Sequence[Modality] | None = None,
    categories: Sequence[Category] | None = None,
) -> Sample:
    """Draw the sample of a seed; the same arguments give the same sample everywhere.

    Parameters
    ----------
    seed:
        Any integer from 0 on; see :func:`training_seed` and :func:`held_out_seed`.
    questions:
        How many questions; fewer where the parts answer fewer. By default one to six.
    order:
        The parts before the questions, each at most once. By default every one with a chance of
        0.8, at least one, in random order.
    categories:
        Ask only about these. By default about whatever the parts show.
    """
    rng = random.Random(seed)
    drawn = [m for m in MODALITIES if rng.random() < 0.8] or [rng.choice(MODALITIES)]
    rng.shuffle(drawn)
    parts = tuple(drawn if order is None else order)
    if len(set(parts)) != len(parts) or not parts or set(parts) - set(MODALITIES):
        raise InputError(
            f"parts {list(parts)}", legal=f"one or more of {list(MODALITIES)}, each at most once"
        )
    count = rng.randint(1, 6) if questions is None else questions
    if count < 1:
        raise InputError(f"{count} questions", legal="one or more")
    note, image, audio, video = draw_note(rng), draw_image(rng), draw_audio(rng), draw_video(rng)
    queries: list[_Query] = []
    for index, modality in enumerate(parts):
        if modality == "text":
            queries += _note_queries(note, index)
        elif modality == "image":
            queries += _image_queries(image, index)
        elif modality == "audio":
            queries += _audio_queries(audio, index)
        else:
            queries += _video_queries(video, index)
    if categories is not None:
        queries = [query for query in queries if query.category in categories]
    if not queries:
        raise InputError(
            f"no question of {list(categories or ())} can be asked about {list(parts)}",
            legal=f"categories of {list(CATEGORIES)} that the parts show",
        )
    return Sample(
        seed=seed,
        order=parts,
        note=note if "text" in parts else None,
        image=image if "image" in parts else None,
        audio=audio if "audio" in parts else None,
        video=video if "video" in parts else None,
        statements=_statements(_pick(rng, queries, count)),
    )


def _pick(rng: random.Random, queries: list[_Query], count: int) -> list[_Query]:
    """Draw ``count`` queries, every category equally likely at each draw."""
    pools: dict[Category, list[_Query]] = {}
    for query in queries:
        pools.setdefault(query.category, []).append(query)
    for pool in pools.values():
        rng.shuffle(pool)
    chosen: list[_Query] = []
    while len(chosen) < count and pools:
        category = rng.choice(list(pools))
        chosen.append(pools[category].pop())
        if not pools[category]:
            del pools[category]
    rng.shuffle(chosen)
    return chosen


def _statements(queries: list[_Query]) -> tuple[Statement, ...]:
    statements: list[Statement] = []
    start = 0
    for query in queries:
        text = query.before + query.value + query.after
        value_start = start + len(query.before)
        statements.append(
            Statement(
                question=query.question,
                text=text,
                start=start,
                end=start + len(text),
                value=query.value,
                value_start=value_start,
                value_end=value_start + len(query.value),
                category=query.category,
                evidence=(query.evidence,),
            )
        )
        start += len(text) + 1
    return tuple(statements)


def _note_queries(note: Note, part: int) -> list[_Query]:
    return [
        _Query(
            "text",
            f"What does the {fact.name} weigh?",
            f"The {fact.name} weighs ",
            fact.weight,
            " grams.",
            TextEvidence(0, part, fact.start, fact.end),
        )
        for fact in note.facts
    ]


def _image_queries(image: Image, part: int) -> list[_Query]:
    queries: list[_Query] = []
    for shape in image.shapes:
        seen = BoxEvidence(0, part, shape.box)
        place = f"at the {shape.cell}"
        queries.append(
            _Query(
                "image-colour",
                f"What is the colour {place}?",
                f"The colour {place} is ",
                shape.colour,
                ".",
                seen,
            )
        )
        queries.append(
            _Query(
                "image-shape",
                f"What is the shape {place}?",
                f"The shape {place} is a ",
                shape.shape,
                ".",
                seen,
            )
        )
    return queries


def _audio_queries(audio: Audio, part: int) -> list[_Query]:
    return [
        _Query(
            "audio",
            f"What is the sound in second {SECONDS[k]}?",
            f"The sound in second {SECONDS[k]} is ",
            tone.name,
            ".",
            SecondsEvidence(0, part, float(k), float(k + 1)),
        )
        for k, tone in enumerate(audio.tones)
    ]


def _video_queries(video: Video, part: int) -> list[_Query]:
    return [
        _Query(
            "video",
            f"What colour is the video in second {SECONDS[k]}?",
            f"The video in second {SECONDS[k]} is ",
            colour,
            ".",
            SecondsEvidence(0, part, float(k), float(k + 1)),
        )
        for k, colour in enumerate(video.colours)
    ]
