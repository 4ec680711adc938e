"""The ``attribution`` field: which sources support each span, and its deltas while streaming.

Sources are written once, however many spans they support; a support names its source by ``id``.
Ranges of a span are half-open, in Unicode code points of ``message.content`` (section "answer") or
``message.reasoning_content`` (section "thought"), as the client has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from omnitrace.serve.openai.written import Written
from omnitrace.trace.citations import Citation, citations_of, sections_of
from omnitrace.trace.places import place_of
from omnitrace.trace.trace import Trace
from omnitrace.types import (
    EffectKind,
    ImageRegion,
    Modality,
    Section,
    SourceUnit,
    Span,
    TextRange,
    TimeRange,
    Verdict,
)

__all__ = [
    "VERSION",
    "AttributedSpan",
    "Attribution",
    "AttributionDelta",
    "Source",
    "SpanSupport",
    "annotations_of",
    "attribution_of",
    "delta_of",
]

#: Of the schema: raised where a field is removed or changes its meaning; fields may be added.
VERSION: Final = 1


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Sent):
    """A part of the request that supports something: a sentence, a region, or seconds."""

    id: str = Field(description="Id of the unit.")
    modality: Modality
    message: int = Field(description="Index into the request's messages.")
    part: int = Field(description="Index into the content of that message.")
    place: str = Field(description="Where it is, in words.")
    characters: tuple[int, int] | None = Field(
        None, description="Half-open range in the text of the part."
    )
    box: tuple[float, float, float, float] | None = Field(
        None, description="x0, y0, x1, y1 in pixels of the image as displayed."
    )
    seconds: tuple[float, float] | None = Field(
        None, description="Half-open range in the audio or video."
    )
    text: str = Field(
        "", description="What is written or said there; in a delta only the beginning of a text."
    )
    speaker: str | None = None
    document: str | None = Field(
        None, description="Its source_id, or a name made of message and part; not in a delta."
    )
    source_id: str | None = Field(None, description="As the request gave it.")
    title: str | None = None
    metadata: Any = None


class SpanSupport(_Sent):
    """One source of a span."""

    source: str = Field(description="Id of the source.")
    rank: int = Field(description="1 is the strongest.")
    share: float = Field(description="Its share of what supports the span, in [0, 1].")
    mass: float = Field(description="Its share of the span's signal, in [0, 1].")
    effect: float | None = Field(
        None, description="By how many nats the span is less likely without it, where measured."
    )
    interval: tuple[float, float] | None = Field(None, description="Bounds of the effect.")
    kind: EffectKind | None = Field(
        None, description="Whether it is necessary, sufficient or shared, where verified."
    )


class AttributedSpan(_Sent):
    """A sentence or clause of the response."""

    index: int
    section: Section
    start: int = Field(description="Character of the content, or of the reasoning.")
    end: int
    text: str
    grounding: float = Field(description="Share of the signal on sources, in [0, 1].")
    verified: bool = Field(description="Whether the supports were verified by ablation.")
    verdict: Verdict | None = None
    sources_effect: float | None = Field(
        None, description="By how many nats it is less likely without any source."
    )
    supports: list[SpanSupport]


class Attribution(_Sent):
    """What supports the whole response; the last chunk of a stream has it."""

    object: Literal["attribution"] = "attribution"
    version: Literal[1] = VERSION
    signal: str
    verified: bool = Field(description="Whether verification was asked for.")
    sources: list[Source] = Field(
        description="Those that support a span, in the order in which they are first cited."
    )
    spans: list[AttributedSpan]
    notes: list[str] = Field(
        default_factory=list, description="What to know of the choice of sources."
    )


class AttributionDelta(_Sent):
    """What a chunk of a stream adds; all of it may change until the last chunk."""

    object: Literal["attribution.delta"] = "attribution.delta"
    version: Literal[1] = VERSION
    sources: list[Source] = Field(description="Those that no earlier delta has named.")
    spans: list[AttributedSpan] = Field(description="Spans that have ended.")
    provisional: AttributedSpan | None = Field(
        None, description="The text behind the last span, as if it were one."
    )


def attribution_of(trace: Trace, written: Written, verified: bool) -> Attribution:
    """Return what supports a response that is finished.

    Parameters
    ----------
    trace:
        The response; spans without a source, or against their sources, have no supports.
    written:
        The response as the client has it.
    verified:
        Whether verification was asked for.
    """
    sources: dict[str, Source] = {}
    spans: list[AttributedSpan] = []
    for cited in citations_of(trace):
        supports = []
        for each in cited.citations:
            sources.setdefault(each.unit, _cited(each))
            supports.append(
                SpanSupport(
                    source=each.unit,
                    rank=each.rank,
                    share=each.strength,
                    mass=each.mass,
                    effect=each.effect,
                    interval=each.interval,
                    kind=each.kind,
                )
            )
        span = _span(trace.spans[cited.span], written, supports)
        if span is not None:
            spans.append(span)
    used = {support.source for span in spans for support in span.supports}
    return Attribution(
        signal=str(trace.provenance.signal.get("name", "")),
        verified=verified,
        sources=[source for name, source in sources.items() if name in used],
        spans=spans,
        notes=list(trace.provenance.notes),
    )


def delta_of(
    ended: Sequence[Span], provisional: Span | None, written: Written, sent: set[str]
) -> AttributionDelta | None:
    """Return what is known of spans while a response is written; None where that is nothing.

    Parameters
    ----------
    ended:
        Spans that have ended since the last delta.
    provisional:
        The text behind them, as if it were a span.
    written:
        The response so far, as the client has it.
    sent:
        Ids of the sources that the client has; those of this delta are added.
    """
    given = [*ended, *([] if provisional is None else [provisional])]
    shown = [(span, _span(span, written, _supports(span))) for span in given]
    fresh: dict[str, SourceUnit] = {}
    for span, found in shown:
        if found is not None:
            fresh |= {each.unit.id: each.unit for each in span.supports}
    spans = [found for span, found in shown if found is not None and span is not provisional]
    growing = next((found for span, found in shown if span is provisional), None)
    if not spans and growing is None:
        return None
    sources = [_source(unit) for name, unit in fresh.items() if name not in sent]
    sent.update(fresh)
    return AttributionDelta(sources=sources, spans=spans, provisional=growing)


def annotations_of(trace: Trace, written: Written) -> list[dict[str, Any]]:
    """Return OpenAI's own annotations of a message: documents of the web that the answer cites.

    Chat completions have no other kind; what is not on the web stands in the attribution alone.
    """
    found: list[dict[str, Any]] = []
    starts = [start for section, start, _ in sections_of(trace) if section == "answer"]
    for content, start in zip(trace.to_openai()["content"], starts, strict=True):
        for each in content["annotations"]:
            if each["type"] != "url_citation":
                continue
            place = written.place(start + each["start_index"], start + each["end_index"])
            if place is None or place.section != "answer":
                continue
            citation = {"url": each["url"], "title": each["title"]}
            citation |= {"start_index": place.start, "end_index": place.end}
            found.append({"type": "url_citation", "url_citation": citation})
    return found


def _span(span: Span, written: Written, supports: list[SpanSupport]) -> AttributedSpan | None:
    """Return a span as the client has it; None where it is behind the end of the response."""
    place = written.place(span.start, span.end)
    if place is None:
        return None
    text = written.content if place.section == "answer" else written.reasoning
    return AttributedSpan(
        index=span.index,
        section=place.section,
        start=place.start,
        end=place.end,
        text=text[place.start : place.end],
        grounding=span.grounding,
        verified=span.sources_effect is not None,
        verdict=span.verdict,
        sources_effect=span.sources_effect,
        supports=supports,
    )


def _supports(span: Span) -> list[SpanSupport]:
    return [
        SpanSupport(
            source=each.unit.id,
            rank=each.rank,
            share=each.share,
            mass=each.mass,
            effect=each.effect,
            interval=span.interval_of(each.unit.id),
            kind=each.kind,
        )
        for each in span.supports
    ]


def _source(unit: SourceUnit) -> Source:
    """Return a unit before there is a trace, which knows its document and all of its text."""
    locator = unit.locator
    return Source(
        id=unit.id,
        modality=unit.modality,
        message=locator.message,
        part=locator.part,
        place=place_of(locator),
        characters=(locator.start, locator.end) if isinstance(locator, TextRange) else None,
        box=locator.box if isinstance(locator, ImageRegion) else None,
        seconds=(locator.start, locator.end) if isinstance(locator, TimeRange) else None,
        text=unit.quote,
        speaker=unit.speaker,
        source_id=unit.source_id,
    )


def _cited(citation: Citation) -> Source:
    return Source(
        id=citation.unit,
        modality=citation.modality,
        message=citation.message,
        part=citation.part,
        place=citation.place,
        characters=citation.characters,
        box=citation.box,
        seconds=citation.seconds,
        text=citation.cited_text,
        speaker=citation.speaker,
        document=citation.document,
        source_id=citation.source_id,
        title=citation.title,
        metadata=citation.metadata,
    )
