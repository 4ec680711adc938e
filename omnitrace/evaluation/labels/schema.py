"""The label file: which evidence a person (or a generator) names for what a model wrote.

JSON Lines, one request a line. Everything is in the coordinates of the user, none in those of a
model: characters of a text part, pixels of an image as displayed, seconds of audio or video. So the
same labels evaluate every model, every signal and every way to cut sources into units. All ranges
are half-open. ``docs/reference/label-format.md`` describes the format,
``docs/reference/labels.schema.json`` is its JSON Schema.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from omnitrace._utils.documents import MAX_COORDINATE, Count

__all__ = [
    "VERSION",
    "ImageSource",
    "Label",
    "LabelledSpan",
    "LabelledWord",
    "Option",
    "Source",
    "TextSource",
    "TimeSource",
    "label_schema",
    "write_schema",
]

VERSION: Final = 1

#: Type of pydantic's error for spans that the response does not say; its context holds them all.
MISREAD: Final = "label_misread"

Seconds: TypeAlias = Annotated[float, Field(ge=0, le=MAX_COORDINATE)]
MessageIndex: TypeAlias = Annotated[
    Count, Field(description="Index of the message in the request.")
]
PartIndex: TypeAlias = Annotated[Count, Field(description="Index of the part in the message.")]


Pixel: TypeAlias = Annotated[float, Field(le=MAX_COORDINATE)]
PixelBox: TypeAlias = tuple[Pixel, Pixel, Pixel, Pixel]
Range: TypeAlias = tuple[Seconds, Seconds]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TextSource(_Model):
    """Characters of a text part: either ``start`` and ``end``, or a ``quote``.

    A quote must occur exactly once in the part.
    """

    type: Literal["text"] = "text"
    message: MessageIndex
    part: PartIndex
    start: Count | None = None
    end: Count | None = None
    quote: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        ranged = self.start is not None and self.end is not None
        halved = (self.start is None) != (self.end is None)
        if halved or ranged == (self.quote is not None):
            raise ValueError("a text source has either 'start' and 'end', or 'quote'")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"the range {self.start} to {self.end} is empty")
        return self


class ImageSource(_Model):
    """A box of an image part, in pixels of the image as displayed; without one, the whole image.

    ``shows`` are boxes, none over another, that together are what bears the value, where that is
    known more exactly than the box: every region that holds some of it shows it.
    """

    type: Literal["image"] = "image"
    message: MessageIndex
    part: PartIndex
    box: PixelBox | None = None
    shows: Annotated[tuple[PixelBox, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        for box in (*((self.box,) if self.box else ()), *(self.shows or ())):
            x0, y0, x1, y1 = box
            if not (0 <= x0 < x1 and 0 <= y0 < y1):
                raise ValueError(f"the box {list(box)} is not 0 ≤ x0 < x1, 0 ≤ y0 < y1")
        for one, other in itertools.combinations(self.shows or (), 2):
            if max(one[0], other[0]) < min(one[2], other[2]) and (
                max(one[1], other[1]) < min(one[3], other[3])
            ):
                raise ValueError(f"{list(one)} and {list(other)} of 'shows' overlap")
        return self


class TimeSource(_Model):
    """Seconds of an audio or video part.

    ``stream`` says whether the evidence is in the sound or in the pictures of a video; without it,
    both count. ``shows`` are ranges of seconds, none over another, that together are what bears the
    value, where that lasts longer than the evidence: every second that holds some of it shows it.
    """

    type: Literal["time"] = "time"
    message: MessageIndex
    part: PartIndex
    start: Seconds
    end: Seconds
    stream: Literal["audio", "video"] | None = None
    shows: Annotated[tuple[Range, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        for start, end in ((self.start, self.end), *(self.shows or ())):
            if start >= end:
                raise ValueError(f"the range {start:g} to {end:g} s is empty")
        for one, other in itertools.combinations(self.shows or (), 2):
            if max(one[0], other[0]) < min(one[1], other[1]):
                raise ValueError(f"{list(one)} and {list(other)} of 'shows' overlap")
        return self


Source: TypeAlias = Annotated[TextSource | ImageSource | TimeSource, Field(discriminator="type")]
"""A piece of evidence: text, a region of an image, or seconds of audio or video."""
Sources: TypeAlias = Annotated[
    tuple[Source, ...], Field(description="The evidence; empty where there is none.")
]


class _Said(_Model):
    start: Annotated[Count, Field(description="First character of the response.")]
    end: Annotated[Count, Field(description="The character of the response after the last one.")]
    text: Annotated[str, Field(description="What the response says there, letter for letter.")]
    sources: Sources

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"the range {self.start} to {self.end} is empty")
        return self


class LabelledWord(_Said):
    """A word (or phrase) of a span that has evidence of its own, such as a value."""


class Option(_Model):
    """An option of a multiple-choice question: its text, and where the request says it.

    ``chosen`` is that the response chose it, rightly or wrongly.
    """

    text: Annotated[str, Field(min_length=1)]
    sources: Annotated[
        tuple[Source, ...], Field(min_length=1, description="Where the request has the option.")
    ]
    chosen: bool = False


class LabelledSpan(_Said):
    """A statement of the response and its evidence; ``sources: []`` says that there is none.

    ``category`` is free: results are grouped by it. ``options`` are those of a multiple-choice
    question that the span answers, of which exactly one is chosen.
    """

    words: tuple[LabelledWord, ...] = ()
    category: str | None = None
    options: tuple[Option, ...] = ()

    @model_validator(mode="after")
    def _one_is_chosen(self) -> Self:
        chosen = sum(option.chosen for option in self.options)
        if self.options and (chosen != 1 or len(self.options) < 2):
            raise ValueError(
                f"{chosen} of {len(self.options)} options are chosen; a span has no options, or "
                "two and more, of which exactly one is chosen"
            )
        return self

    @model_validator(mode="after")
    def _words_inside(self) -> Self:
        for number, word in enumerate(self.words):
            if not self.start <= word.start < word.end <= self.end:
                raise ValueError(
                    f"words[{number}] is {word.start} to {word.end}, outside the span's "
                    f"{self.start} to {self.end}"
                )
        return self


class Label(_Model):
    """The labels of one request: its id, the response that was labelled, and its spans."""

    version: Literal[1] = Field(description="Version of the format.")
    id: Annotated[str, Field(min_length=1, description="The request; names its trace file.")]
    response: str
    spans: tuple[LabelledSpan, ...]

    @model_validator(mode="after")
    def _letter_for_letter(self) -> Self:
        wrong = []
        for number, span in enumerate(self.spans):
            name = f"spans[{number}]"
            wrong += self._misread(name, span)
            for index, word in enumerate(span.words):
                wrong += self._misread(f"{name}.words[{index}]", word)
        if wrong:
            context = {"first": f"{wrong[0][0]}: {wrong[0][1]}", "wrong": wrong}
            raise PydanticCustomError(MISREAD, "{first}", context)
        return self

    def _misread(self, name: str, said: _Said) -> list[tuple[str, str]]:
        """Return (field, mistake) where the response does not say what is labelled."""
        length = len(self.response)
        if said.end > length:
            return [(f"{name}.end", f"{said.end} is beyond the response of {length} characters")]
        found = self.response[said.start : said.end]
        if found == said.text:
            return []
        return [(f"{name}.text", f"{said.text!r} is not what the response says there, {found!r}")]

    def line(self) -> str:
        """Return the label as one line of a label file, without the line break."""
        document = self.model_dump(mode="json", exclude_none=True)
        for span, model in zip(document["spans"], self.spans, strict=True):
            for name in ("words", "options"):
                if not getattr(model, name):
                    del span[name]
        return json.dumps(document, ensure_ascii=False, allow_nan=False)

    def digest(self) -> str:
        """Return 16 hexadecimal digits that identify this label."""
        return hashlib.sha256(self.line().encode("utf-8")).hexdigest()[:16]


def label_schema() -> dict[str, Any]:
    """Return the JSON Schema of one line of a label file."""
    schema = Label.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "One line of an Omnitrace label file",
    }


def write_schema(path: str | Path) -> None:
    """Write :func:`label_schema` to a file; ``docs/reference/labels.schema.json`` is made so."""
    text = json.dumps(label_schema(), indent=2, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")
