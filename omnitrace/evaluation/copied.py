"""Examples whose evidence is known: a sentence of a document, copied as the response."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnitrace.errors import InputError
from omnitrace.segmentation.blocks import source_units
from omnitrace.segmentation.sentences import segment
from omnitrace.sources.parts import TextPart
from omnitrace.types import Message, TextRange

if TYPE_CHECKING:
    from omnitrace.sources.messages import Conversation
    from omnitrace.tracer import Tracer

__all__ = ["CopiedSentence", "copied_sentences"]

_WORDS: Final = 4  # headings and fragments are no statements


@dataclass(frozen=True, slots=True)
class CopiedSentence:
    """A sentence of a document as the response to a request.

    Attributes
    ----------
    text:
        The sentence.
    place:
        Where it stands.
    messages:
        The request, as it was given.
    without:
        The request without the document.
    """

    text: str
    place: TextRange
    messages: Sequence[Message]
    without: Sequence[Message]


def copied_sentences(
    tracer: Tracer,
    messages: Sequence[Message],
    *,
    count: int,
    seed: str,
    media_root: Path | None = None,
    template: Mapping[str, Any] | None = None,
) -> list[CopiedSentence]:
    """Choose sentences of a request's documents at random.

    A sentence is of four words or more, one span of a response, and said nowhere else in the
    request. Its document is a text that is a source, beside at least one other source.

    Parameters
    ----------
    tracer:
        Says what is a source, and how responses are cut.
    messages, media_root, template:
        The request; ``template`` has its ``tools`` and ``chat_template_kwargs``.
    count:
        How many sentences; fewer where there are not as many.
    seed:
        Of the choice.

    Raises
    ------
    InputError
        If there is none.
    """
    read = tracer.read(messages, media_root=media_root, **(template or {}))
    every = list(_sentences(read, tracer))
    if not every:
        raise InputError(
            "no sentence of the request can be copied as a response",
            legal="a request with two sources or more, one of them a text whose sentences are said "
            "once",
        )
    chosen = random.Random(seed).sample(every, min(count, len(every)))
    return [
        CopiedSentence(text, place, messages, _without(messages, place)) for text, place in chosen
    ]


def _sentences(read: Conversation, tracer: Tracer) -> Iterator[tuple[str, TextRange]]:
    setup = tracer.setup
    language = setup.sources.language
    texts = [part for part in read.parts if isinstance(part, TextPart)]
    if sum(part.is_source for part in read.parts) < 2:
        return
    for part in texts:
        for start, end in source_units(part.text, language=language) if part.is_source else ():
            if not any(a <= start and end <= b for a, b in part.within or [(0, len(part.text))]):
                continue
            text = part.text[start:end].strip()
            spans = segment(text, unit=setup.span_unit, language=language)
            said = sum(each.text.count(text) for each in texts)
            if len(text.split()) >= _WORDS and len(spans) == said == 1:
                first = part.text.index(text, start)
                yield text, TextRange(part.message, part.part, first, first + len(text))


def _without(messages: Sequence[Message], place: TextRange) -> list[Message]:
    """Return messages without a part, and without its message where that has no other part."""
    message = messages[place.message]
    content = message["content"]
    left = [] if isinstance(content, str) else [*content]
    del left[place.part : place.part + 1]
    between = [{**message, "content": left}] if left else []
    return [*messages[: place.message], *between, *messages[place.message + 1 :]]
