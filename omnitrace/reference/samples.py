"""What a sample of the reference world is: a request, and its right answer with evidence.

The answer is a sequence of sentences, each of them a statement with evidence of its own. Where the
questions need several steps, the steps are written first, as thoughts between the markers that
:class:`~omnitrace.segmentation.thinking.Thinking` looks for by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from omnitrace.evaluation.labels.schema import Source
from omnitrace.reference.questions import Category, Reference, Scene
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.words import UNKNOWN
from omnitrace.segmentation.thinking import Thinking
from omnitrace.types import Modality, Section

__all__ = [
    "THOUGHT",
    "Piece",
    "Sample",
    "Sentence",
    "Statement",
    "ThinkingCategory",
    "Value",
    "capital",
    "media_name",
    "modality_of",
    "said",
    "statements_of",
]

ThinkingCategory: TypeAlias = Literal["think-add", "think-compare", "think-odd", "think-colour"]
"""What can be asked that needs several steps; see :mod:`omnitrace.reference.reasoning`."""
#: The category of the steps.
THOUGHT: Final = "thought"
#: Words of a sentence, and their evidence if they are a value word.
Piece: TypeAlias = tuple[str, tuple[Source, ...] | None]

_MARKERS: Final = Thinking()
_BEFORE: Final = f"{_MARKERS.opening} "
_BETWEEN: Final = f" {_MARKERS.closing} "
_ENDINGS: Final = {"image": "png", "audio": "wav", "video": "mp4"}


@dataclass(frozen=True, slots=True)
class Value:
    """A value word, at characters ``[start, end)`` of the answer, and the evidence for it."""

    text: str
    start: int
    end: int
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of the answer, at characters ``[start, end)`` of it, and its evidence.

    ``values`` are its value words; the last one answers the question. ``sources`` are those of all
    its value words, none where the request does not state the value. A thought answers no question:
    its ``question`` is empty.
    """

    question: str
    text: str
    start: int
    end: int
    values: tuple[Value, ...]
    category: Category | ThinkingCategory | Literal["thought"]
    sources: tuple[Source, ...]
    section: Section = "answer"

    @property
    def value(self) -> str:
        """The word that answers the question."""
        return self.values[-1].text

    @property
    def value_start(self) -> int:
        """First character of that word in the answer."""
        return self.values[-1].start

    @property
    def value_end(self) -> int:
        """The character of the answer after that word."""
        return self.values[-1].end


@dataclass(frozen=True, slots=True)
class Sample:
    """A request, what its parts show, and the answer with evidence.

    ``aligned`` says that it is of the aligned world (:mod:`omnitrace.reference.aligned`).
    """

    seed: int
    scenes: tuple[Scene, ...]
    statements: tuple[Statement, ...]
    aligned: bool = False

    @property
    def id(self) -> str:
        """Name of the sample, from its world and seed."""
        return f"reference-{'aligned-' if self.aligned else ''}{self.seed}"

    @property
    def order(self) -> tuple[Modality, ...]:
        """Modality of each part before the questions."""
        return tuple(modality_of(scene) for scene in self.scenes)

    @property
    def question(self) -> str:
        """The last text part: all questions."""
        return " ".join(statement.question for statement in self.statements if statement.question)

    @property
    def answer(self) -> str:
        """The right answer: the thoughts, if it needs some, and one sentence a question."""
        thoughts, answers = (
            " ".join(each.text for each in self.statements if each.section == section)
            for section in ("thought", "answer")
        )
        return f"{_BEFORE}{thoughts}{_BETWEEN}{answers}" if thoughts else answers

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The request in the format of chat templates, media paths relative to its folder."""
        content: list[dict[str, Any]] = []
        for part, scene in enumerate(self.scenes):
            if isinstance(scene, Note):
                content.append({"type": "text", "text": scene.text})
            else:
                modality = modality_of(scene)
                content.append({"type": modality, modality: media_name(part, scene)})
        content.append({"type": "text", "text": self.question})
        return [{"role": "user", "content": content}]


def modality_of(scene: Scene) -> Modality:
    """Return the modality of a part."""
    kinds: dict[type, Modality] = {Note: "text", Image: "image", Audio: "audio", Video: "video"}
    return kinds[type(scene)]


def media_name(part: int, scene: Scene) -> str:
    """Return the file name of a part that is no note."""
    modality = modality_of(scene)
    return f"{modality}-{part}.{_ENDINGS[modality]}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence before it has its place in an answer; of a thought ``question`` is empty."""

    category: Category | ThinkingCategory | Literal["thought"]
    question: str
    pieces: tuple[Piece, ...]


def statements_of(thoughts: Sequence[Sentence], answers: Sequence[Sentence]) -> list[Statement]:
    """Place the sentences of an answer one behind the other, thoughts between their markers."""
    found: list[Statement] = []
    start = len(_BEFORE) if thoughts else 0
    for sentence in thoughts:
        found.append(_placed(sentence, start, "thought"))
        start = found[-1].end + 1
    start = found[-1].end + len(_BETWEEN) if thoughts else 0
    for sentence in answers:
        found.append(_placed(sentence, start, "answer"))
        start = found[-1].end + 1
    return found


def _placed(sentence: Sentence, start: int, section: Section) -> Statement:
    text = ""
    values: list[Value] = []
    for piece, sources in sentence.pieces:
        if sources is not None:
            first = start + len(text)
            values.append(Value(piece, first, first + len(piece), sources))
        text += piece
    return Statement(
        sentence.question,
        text,
        start,
        start + len(text),
        tuple(values),
        sentence.category,
        tuple(dict.fromkeys(source for value in values for source in value.sources)),
        section,
    )


def capital(phrase: str) -> str:
    """Begin a phrase with a capital letter."""
    return phrase[0].upper() + phrase[1:]


def said(reference: Reference, before: str = "") -> tuple[Piece, ...]:
    """Say a reference's value behind some words, or that it is unknown."""
    words = f"{before}{reference.said} " if before else f"{capital(reference.said)} "
    if reference.value is None:
        return (words, None), (UNKNOWN, ()), (reference.unit, None)
    value = (reference.value, reference.sources)
    return (f"{words}{reference.article}", None), value, (reference.unit, None)
