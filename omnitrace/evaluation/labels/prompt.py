"""Ask somebody which sources support each sentence of a response, and read the reply strictly.

The paper's protocol, as far as it is public, is to show the sources with numbers and the response
cut into numbered sentences, and to ask for the sources of *each* sentence: numbers of texts and
images, times of audio and video, as JSON. The wording here is our own, and so are regions of
images, which the paper does not ask for. The same questions go to the model itself
(:mod:`~omnitrace.evaluation.baselines.self_citation`) and to an LLM judge
(:mod:`~omnitrace.evaluation.labels.llm_judge`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import label_mistakes
from omnitrace.evaluation.labels.matching import part_of
from omnitrace.evaluation.labels.paper_format import seconds_of
from omnitrace.evaluation.labels.schema import ImageSource, Source, TextSource, TimeSource
from omnitrace.trace.trace import Trace
from omnitrace.types import MediaRecord, TextRange

__all__ = ["Answer", "Ask", "Questions", "questions_of"]

_TASK: Final = """\
Above are the sources of a request{shown}.{asked}This is a response to it, cut into numbered \
sentences:

{sentences}

Say for every sentence which sources directly support it. Name a source only if the sentence could \
not be known to be true without it; a sentence that no source supports has an empty list. Sources \
are named as follows:

{forms}

Reply with JSON and nothing else, with one entry for each sentence, like this:

{{"sentences": [{{"number": 1, "sources": ["{example}"]}}, {{"number": 2, "sources": []}}]}}"""
_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL | re.IGNORECASE)
_NUMBER: Final = r"\s*(\d+(?:\.\d+)?)\s*"
_TEXT: Final = re.compile(r"T(\d+)")
_IMAGE: Final = re.compile(rf"I(\d+)(?:\s*\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\])?")
_TIMES: Final = re.compile(r"R(\d+)\s+([\d:.]+)\s*s?\s*[-–]\s*([\d:.]+)\s*s?")  # noqa: RUF001

_Numbered = TypeVar("_Numbered")


class Ask(Protocol):
    """Answers a question about a request, as text: a model, a service, a person."""

    def __call__(self, text: str, /) -> str:
        """Return the reply."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was replied for one sentence: its sources, or None and why it could not be read."""

    sources: tuple[Source, ...] | None
    problem: str = ""


class _Sentence(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    number: Annotated[int, Field(ge=1)]
    sources: list[str]


class _Reply(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    sentences: list[_Sentence]


@dataclass(frozen=True, slots=True)
class Questions:
    """The question about one trace, and how its reply is read.

    Attributes
    ----------
    spans:
        Indices of the trace's spans that are asked about: sentence ``n`` is ``spans[n - 1]``.
    sentences:
        Their words.
    texts:
        Place and words of the numbered texts: ``T1`` is the first.
    images, timed_media:
        The numbered media: ``I1``, ``R1``.
    request:
        What the user said that is no source: the question that the response is to.
    """

    spans: tuple[int, ...]
    sentences: tuple[str, ...]
    texts: tuple[tuple[TextRange, str], ...]
    images: tuple[MediaRecord, ...]
    timed_media: tuple[MediaRecord, ...]
    request: str = ""

    def listing(self) -> str:
        """Return the numbered sources, a line each."""
        lines = [f"T{n}: {' '.join(text.split())}" for n, (_, text) in enumerate(self.texts, 1)]
        for number, image in enumerate(self.images, 1):
            width, height = image.size or (0, 0)
            lines.append(f"I{number}: image {number}, {width} by {height} pixels")
        for number, record in enumerate(self.timed_media, 1):
            lasts = "" if record.duration is None else f", {record.duration:g} seconds"
            lines.append(f"R{number}: {record.modality} {number}{lasts}")
        return "\n".join(lines)

    def prompt(self, *, media_above: bool = True) -> str:
        """Return the whole question.

        Parameters
        ----------
        media_above:
            Whether the one who is asked has the images, audio and videos before the question.
        """
        media = media_above and (self.images or self.timed_media)
        shown = ", the images, audio and videos in the order of their numbers" if media else ""
        forms, example = [], "T1"
        if self.texts:
            forms.append("T and the number of a text: T1")
        if self.images:
            forms.append(
                "I and the number of an image, with the box of the region in pixels "
                "[left, top, right, bottom] if it is not the whole image: I1 [0, 0, 80, 60]"
            )
        if self.timed_media:
            forms.append(
                "R, the number of an audio or a video, and seconds from its start: R1 2.5-4"
            )
        if not self.texts:
            example = "I1" if self.images else "R1 2.5-4"
        numbered = (f"{n}. {' '.join(text.split())}" for n, text in enumerate(self.sentences, 1))
        task = _TASK.format(
            shown=shown,
            asked=f" The request is:\n\n{self.request}\n\n" if self.request else " ",
            sentences="\n".join(numbered),
            forms="\n".join(forms),
            example=example,
        )
        return f"{self.listing()}\n\n{task}"

    def read(self, reply: str) -> tuple[Answer, ...]:
        """Read a reply: one answer a sentence.

        Strictly: the reply is JSON of the form that was asked for (a fence around it is allowed),
        each sentence stands there once and no other one, and its sources exist. A sentence of
        which any source cannot be read has no answer at all, and a reply that cannot be read has
        none.
        """
        fenced = _FENCE.fullmatch(reply.strip())
        try:
            found = _Reply.model_validate_json(fenced[1] if fenced else reply.strip())
        except ValidationError as error:
            field, message = label_mistakes(error)[0]
            problem = f"{field}: {message}" if field else message
            return tuple(Answer(None, problem) for _ in self.sentences)
        by_number: dict[int, list[_Sentence]] = {}
        for sentence in found.sentences:
            if sentence.number > len(self.sentences):  # as of whoever repeats the example
                problem = f"there is no sentence {sentence.number}"
                return tuple(Answer(None, problem) for _ in self.sentences)
            by_number.setdefault(sentence.number, []).append(sentence)
        return tuple(
            self._answer(number, by_number.get(number, []))
            for number in range(1, len(self.sentences) + 1)
        )

    def _answer(self, number: int, found: Sequence[_Sentence]) -> Answer:
        if len(found) != 1:
            return Answer(None, f"sentence {number} stands there {len(found)} times")
        sources: list[Source] = []
        for name in found[0].sources:
            try:
                sources.append(self._source(name.strip()))
            except ValueError as error:
                wrong = isinstance(error, ValidationError)
                reason = label_mistakes(error)[0][1] if wrong else str(error)  # type: ignore[arg-type]
                return Answer(None, f"sentence {number}: {name!r}: {reason}")
        return Answer(tuple(dict.fromkeys(sources)))

    def _source(self, name: str) -> Source:
        """Read one source; raises ValueError with what is wrong."""
        if match := _TEXT.fullmatch(name):
            place = _numbered(self.texts, match[1])[0]
            return TextSource(
                message=place.message, part=place.part, start=place.start, end=place.end
            )
        if match := _IMAGE.fullmatch(name):
            image = _numbered(self.images, match[1])
            box = None if match[2] is None else tuple(map(float, match.groups()[1:]))
            if box and image.size and (box[2] > image.size[0] or box[3] > image.size[1]):
                raise ValueError(f"the box is outside the image of {image.size} pixels")
            return ImageSource(message=image.message, part=image.part, box=box)  # type: ignore[arg-type]
        if match := _TIMES.fullmatch(name):
            record = _numbered(self.timed_media, match[1])
            start, end = seconds_of(match[2]), seconds_of(match[3])
            if start is None or end is None:
                raise ValueError("no seconds")
            if record.duration is not None and end > record.duration:
                raise ValueError(f"{end:g} s is beyond the end at {record.duration:g} s")
            return TimeSource(message=record.message, part=record.part, start=start, end=end)
        raise ValueError("no name of a source")


def _numbered(items: Sequence[_Numbered], number: str) -> _Numbered:
    index = int(number)
    if not 1 <= index <= len(items):
        raise ValueError(f"there are {len(items)} of these")
    return items[index - 1]


def questions_of(trace: Trace) -> Questions:
    """Return the question about a trace: its sentences, texts, images, audio and videos.

    Raises
    ------
    InputError
        If the trace is redacted, or has no sentence or no source.
    """
    spans = tuple(i for i, span in enumerate(trace.spans) if span.text.strip())
    used = {(unit.locator.message, unit.locator.part) for unit in trace.units}
    media = [record for record in trace.media if (record.message, record.part) in used]
    texts = tuple(
        (unit.locator, _quote(trace, unit.locator))
        for unit in trace.units
        if isinstance(unit.locator, TextRange)
    )
    if not spans or not used:
        raise InputError(
            "there is nothing to ask about: the trace has "
            f"{len(spans)} sentences and {len(trace.units)} units",
            legal="a response with a sentence, to a request with a source",
        )
    if not trace.text.strip("█ \n"):
        raise InputError(
            "the trace is redacted: its words are gone", legal="a trace with its words"
        )
    return Questions(
        spans=spans,
        sentences=tuple(trace.spans[i].text.strip() for i in spans),
        texts=texts,
        images=tuple(record for record in media if record.modality == "image"),
        timed_media=tuple(record for record in media if record.modality != "image"),
        request=_request(trace, used),
    )


def _request(trace: Trace, used: set[tuple[int, int]]) -> str:
    """Return the user's texts that are no source."""
    texts = []
    for number, message in enumerate(trace.messages):
        count = 1 if isinstance(message["content"], str) else len(message["content"])
        for index in range(count):
            part = part_of(trace.messages, number, index) or {}
            if message.get("role") == "user" and (number, index) not in used and "text" in part:
                texts.append(str(part["text"]).strip())
    return "\n".join(filter(None, texts))


def _quote(trace: Trace, place: TextRange) -> str:
    part = part_of(trace.messages, place.message, place.part) or {}
    return str(part.get("text", ""))[place.start : place.end]
