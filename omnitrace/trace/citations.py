"""Which sources each span of a response cites: as units, and together by document.

A *document* is what one ``source_id`` names, in however many parts; a part without one is a
document of its own. Spans that verification found to have no source, or to be against the sources,
cite nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from omnitrace.trace.places import place_of
from omnitrace.trace.record import TraceRecord
from omnitrace.types import (
    EffectKind,
    ImageRegion,
    Locator,
    Modality,
    Section,
    SourceUnit,
    Span,
    Support,
    TextRange,
    TimeRange,
    Verdict,
)

__all__ = [
    "Citation",
    "Document",
    "DocumentCitation",
    "SpanCitations",
    "citations_of",
    "documents_by_part",
    "documents_of",
    "parts_of",
    "quote_of",
    "sections_of",
]

_UNSUPPORTED: Final[tuple[Verdict, ...]] = ("no-source", "against-sources")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a request: the parts that share a ``source_id``, or one part.

    Attributes
    ----------
    id:
        The ``source_id``, or where the part has none ``"message-0-part-2"``.
    index:
        Its place among the documents of the request, from 0.
    name:
        What to call it: its title, else its ``source_id``, its file's name, or as ``"text 2"`` its
        number among the parts of this modality.
    source_id, title, metadata:
        As the request gave them; None where it did not. Of several parts the first that has one.
    modalities:
        Those of its parts, in their order.
    parts:
        ``(message, part)`` of each part that holds units.
    """

    id: str
    index: int
    name: str
    source_id: str | None
    title: str | None
    metadata: Any
    modalities: tuple[Modality, ...]
    parts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """One source unit that a span cites.

    Attributes
    ----------
    number:
        The marker ``[n]``: units are numbered from 1 in the order in which they are first cited.
    unit, modality, message, part:
        Id and modality of the unit, and the part of the request that it lies in.
    cited_text:
        All of its text, letter for letter; of audio and video what is said, where that is known;
        else empty.
    speaker:
        Who says it, where that is known.
    document, source_id, title, metadata:
        Of its :class:`Document`.
    characters:
        Half-open range in the part's text.
    box:
        ``(x0, y0, x1, y1)`` in pixels of the image as displayed.
    seconds:
        Half-open range in the audio or video.
    place:
        The same in words: ``"characters 23–66"``, ``"2–4 s"``.
    rank, mass, kind:
        Those of the support; 1 is the strongest.
    strength:
        Its share of what supports the span (of the votes, or of all positive effects), in [0, 1].
    effect, interval:
        By how many nats the span is less likely without the unit, and the bounds; None where this
        was not predicted or measured.
    """

    number: int
    unit: str
    modality: Modality
    message: int
    part: int
    cited_text: str
    speaker: str | None
    document: str
    source_id: str | None
    title: str | None
    metadata: Any
    characters: tuple[int, int] | None
    box: tuple[float, float, float, float] | None
    seconds: tuple[float, float] | None
    place: str
    rank: int
    mass: float
    strength: float
    effect: float | None
    interval: tuple[float, float] | None
    kind: EffectKind | None


@dataclass(frozen=True, slots=True)
class DocumentCitation:
    """One document that a span cites.

    Attributes
    ----------
    document, source_id, title, metadata:
        Of the :class:`Document`.
    numbers, units:
        The markers and ids of its cited units, strongest first.
    strength:
        The sum of theirs, in [0, 1].
    effect, interval:
        Those of the unit with the largest effect: effects are not added, since units that say the
        same would count twice. None where no unit has one.
    """

    document: str
    source_id: str | None
    title: str | None
    metadata: Any
    numbers: tuple[int, ...]
    units: tuple[str, ...]
    strength: float
    effect: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class SpanCitations:
    """What one span cites; nothing where no source supports it.

    Attributes
    ----------
    span:
        Its index in ``trace.spans``.
    text, start, end, section, verdict, sources_effect:
        Those of the span; ``start`` and ``end`` are characters of the response.
    citations:
        The units, strongest first.
    documents:
        The same by document, strongest first.
    """

    span: int
    text: str
    start: int
    end: int
    section: Section
    verdict: Verdict | None
    sources_effect: float | None
    citations: tuple[Citation, ...]
    documents: tuple[DocumentCitation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON-ready values."""
        return dataclasses.asdict(self)


def citations_of(trace: TraceRecord, section: Section | None = None) -> tuple[SpanCitations, ...]:
    """Return what each span cites; see :meth:`Trace.citations`."""
    documents = documents_by_part(trace)
    wanted = trace.spans if section is None else trace.spans_of(section)
    chosen = {id(span) for span in wanted}
    numbers: dict[str, int] = {}
    result: list[SpanCitations] = []
    for index, span in enumerate(trace.spans):
        if id(span) not in chosen:
            continue
        supports = () if span.verdict in _UNSUPPORTED else span.supports
        cited = [
            _citation(
                trace,
                span,
                support,
                documents[_place(support.unit.locator)],
                numbers.setdefault(support.unit.id, len(numbers) + 1),
            )
            for support in sorted(supports, key=lambda support: support.rank)
        ]
        result.append(
            SpanCitations(
                span=index,
                text=span.text,
                start=span.start,
                end=span.end,
                section=span.section,
                verdict=span.verdict,
                sources_effect=span.sources_effect,
                citations=tuple(cited),
                documents=_by_document(cited),
            )
        )
    return tuple(result)


def _citation(
    trace: TraceRecord, span: Span, support: Support, document: Document, number: int
) -> Citation:
    unit, locator = support.unit, support.unit.locator
    return Citation(
        number=number,
        unit=unit.id,
        modality=unit.modality,
        message=locator.message,
        part=locator.part,
        cited_text=quote_of(trace, unit),
        speaker=unit.speaker,
        document=document.id,
        source_id=document.source_id,
        title=document.title,
        metadata=document.metadata,
        characters=(locator.start, locator.end) if isinstance(locator, TextRange) else None,
        box=locator.box if isinstance(locator, ImageRegion) else None,
        seconds=(locator.start, locator.end) if isinstance(locator, TimeRange) else None,
        place=place_of(locator),
        rank=support.rank,
        mass=support.mass,
        strength=support.share,
        effect=support.effect,
        interval=span.interval_of(unit.id),
        kind=support.kind,
    )


def _by_document(cited: Sequence[Citation]) -> tuple[DocumentCitation, ...]:
    groups: dict[str, list[Citation]] = {}
    for citation in cited:
        groups.setdefault(citation.document, []).append(citation)
    found = []
    for name, group in groups.items():
        measured = [each for each in group if each.effect is not None]
        strongest = max(measured, key=lambda each: each.effect or 0.0, default=None)
        found.append(
            DocumentCitation(
                document=name,
                source_id=group[0].source_id,
                title=group[0].title,
                metadata=group[0].metadata,
                numbers=tuple(each.number for each in group),
                units=tuple(each.unit for each in group),
                strength=min(1.0, sum(each.strength for each in group)),
                effect=None if strongest is None else strongest.effect,
                interval=None if strongest is None else strongest.interval,
            )
        )
    return tuple(sorted(found, key=lambda each: -each.strength))


def documents_of(trace: TraceRecord) -> tuple[Document, ...]:
    """Return the documents that a request holds units of, in its order."""
    return tuple({each.id: each for each in documents_by_part(trace).values()}.values())


def documents_by_part(trace: TraceRecord) -> dict[tuple[int, int], Document]:
    """Return the document of each part that holds units, by ``(message, part)``."""
    ids = {_place(unit.locator): unit.source_id or None for unit in trace.units}
    groups: dict[object, list[tuple[int, int]]] = {}
    for place in sorted(ids):
        groups.setdefault(place if ids[place] is None else ids[place], []).append(place)
    taken = {each for each in ids.values() if each is not None}
    found: dict[tuple[int, int], Document] = {}
    for index, places in enumerate(groups.values()):
        document = _document(trace, index, ids[places[0]], places, taken)
        found |= dict.fromkeys(places, document)
    return found


def _document(
    trace: TraceRecord,
    index: int,
    source_id: str | None,
    places: Sequence[tuple[int, int]],
    taken: set[str],
) -> Document:
    parts = [parts_of(trace.messages[message])[part] for message, part in places]
    name = source_id
    if name is None:
        name = f"message-{places[0][0]}-part-{places[0][1]}"
        while name in taken:  # it is what the user calls another document
            name += "'"
    title = _first(parts, "title")
    files = [trace.media[part["media"]].name for part in parts if "media" in part]
    return Document(
        id=name,
        index=index,
        name=title or source_id or next(filter(None, files), _numbered(trace, *places[0])),
        source_id=source_id,
        title=title,
        metadata=_first(parts, "metadata"),
        modalities=tuple(dict.fromkeys(part["type"] for part in parts)),
        parts=tuple(places),
    )


def _numbered(trace: TraceRecord, message: int, part: int) -> str:
    kind = parts_of(trace.messages[message])[part]["type"]
    before = [
        each
        for m, content in enumerate(map(parts_of, trace.messages[: message + 1]))
        for p, each in enumerate(content)
        if each["type"] == kind and (m, p) <= (message, part)
    ]
    return f"{kind} {len(before)}"


def _first(parts: Sequence[Mapping[str, Any]], name: str) -> Any:
    return next((part[name] for part in parts if part.get(name) is not None), None)


def _place(locator: Locator) -> tuple[int, int]:
    return locator.message, locator.part


def parts_of(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the parts of a message, whose content may also be one string."""
    content: str | Sequence[Mapping[str, Any]] = message.get("content") or ()
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def quote_of(trace: TraceRecord, unit: SourceUnit) -> str:
    """Return all of the text of a unit, or what is said in it; empty where neither is known."""
    locator = unit.locator
    if not isinstance(locator, TextRange):
        return unit.transcript or ""
    text: str = parts_of(trace.messages[locator.message])[locator.part]["text"]
    return text[locator.start : locator.end]


def sections_of(trace: TraceRecord) -> list[tuple[Section, int, int]]:
    """Cut a response where thoughts begin and end: section, and its characters.

    A response without thoughts is one section, whole. Else each begins with its first span, a
    thought ends with its last one, and an answer where the next section begins.
    """
    if all(span.section == "answer" for span in trace.spans):
        return [("answer", 0, len(trace.text))]
    spans = sorted(trace.spans, key=lambda span: span.start)
    groups = [(name, list(each)) for name, each in itertools.groupby(spans, lambda s: s.section)]
    ends = [group[0].start for _, group in groups[1:]] + [len(trace.text)]
    return [
        (name, group[0].start, group[-1].end if name == "thought" else end)
        for (name, group), end in zip(groups, ends, strict=True)
    ]
