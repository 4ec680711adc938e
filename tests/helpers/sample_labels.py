"""Labels for the trace made by hand in ``tests.helpers.sample_traces``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnitrace.evaluation.labels.schema import (
    ImageSource,
    Label,
    LabelledSpan,
    LabelledWord,
    Source,
    TextSource,
    TimeSource,
)
from tests.helpers.sample_traces import ANSWER, sentences

#: The evidence of the five sentences of the response; the last has none.
EVIDENCE: Sequence[Sequence[Source]] = (
    (
        ImageSource(message=0, part=1, box=(960, 160, 1070, 400)),
        TextSource(message=0, part=0, quote="The lighthouse was repainted red in spring."),
    ),
    (TextSource(message=0, part=0, quote="Alma leaves at 18:40"),),
    (TimeSource(message=0, part=2, start=2.2, end=3.1),),
    (TimeSource(message=0, part=3, start=4.0, end=8.0, stream="video"),),
    (),
)
WORD = "18:40"


def span(text: str, sources: Sequence[Source], response: str = ANSWER, **more: Any) -> LabelledSpan:
    start = response.index(text)
    return LabelledSpan(
        start=start, end=start + len(text), text=text, sources=tuple(sources), **more
    )


def word(text: str, sources: Sequence[Source], response: str = ANSWER) -> LabelledWord:
    start = response.index(text)
    return LabelledWord(start=start, end=start + len(text), text=text, sources=tuple(sources))


def label(name: str = "harbour", spans: Sequence[LabelledSpan] | None = None) -> Label:
    if spans is None:
        texts = [ANSWER[a:b] for a, b in sentences(ANSWER)]
        spans = [
            span(
                text,
                sources,
                words=(word(WORD, sources),) if WORD in text else (),
                category="closing" if not sources else "fact",
            )
            for text, sources in zip(texts, EVIDENCE, strict=True)
        ]
    return Label(version=1, id=name, response=ANSWER, spans=tuple(spans))
