"""Citations in the W3C's Web Annotation Data Model, as JSON-LD.

An annotation links one span of the response (its target) to one source unit (its body). Texts and
media are named by their digests (RFC 6920), a document whose ``source_id`` is an address by that.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

from omnitrace._utils.file_names import safe_name
from omnitrace.export.base import ExportedFile, NamedTrace, json_bytes
from omnitrace.trace.citations import Citation, SpanCitations, documents_by_part, parts_of
from omnitrace.trace.trace import Trace

__all__ = ["CONTEXT", "WebAnnotation", "annotations_of"]

CONTEXT: Final = "http://www.w3.org/ns/anno.jsonld"
_FRAGMENTS: Final = "http://www.w3.org/TR/media-frags/"
_IRI: Final = re.compile(r"(https?://|urn:|doi:|file:///)[^\s<>\"{}|\\^`]+")
_TYPES: Final = {"text": "Text", "image": "Image", "audio": "Audio", "video": "Video"}
_CONTEXT_LENGTH: Final = 32  # characters around a quote, by which it is found again


class WebAnnotation:
    """A collection of annotations for each trace, one for each span and unit."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield a file for each trace."""
        for name, trace in traces:
            document = annotations_of(trace, name)
            yield ExportedFile(f"{safe_name(name)}.jsonld", json_bytes(document))


def annotations_of(trace: Trace, name: str) -> dict[str, Any]:
    """Return the ``AnnotationCollection`` of a trace, as JSON-LD."""
    response = _digest(trace.text.encode("utf-8", "replace"))
    base = f"{response}#{trace.provenance.created}#{trace.prompt_ids}"
    sources = _sources(trace)
    items = [
        {
            "id": _named(f"{base}#{span.span}#{citation.unit}"),
            "type": "Annotation",
            "motivation": "linking",
            **({"created": trace.provenance.created} if trace.provenance.created else {}),
            "generator": {"type": "Software", "name": _generator()},
            "body": [_body(trace, citation, sources), _comment(citation)],
            "target": _target(trace, span, response),
        }
        for span in trace.citations()
        for citation in span.citations
    ]
    collection = _named(base)
    return {
        "@context": CONTEXT,
        "id": collection,
        "type": "AnnotationCollection",
        "label": f"What the response to {name} cites",
        "total": len(items),
        "first": {
            "id": _named(f"{base}#page"),
            "type": "AnnotationPage",
            "partOf": collection,
            "startIndex": 0,
            "items": items,
        },
    }


def _target(trace: Trace, span: SpanCitations, response: str) -> dict[str, Any]:
    return {
        "type": "SpecificResource",
        "source": {"id": response, "type": "Text", "format": "text/plain"},
        "selector": _text_selectors(trace.text, span.start, span.end),
    }


def _body(trace: Trace, citation: Citation, sources: dict[tuple[int, int], str]) -> dict[str, Any]:
    place = citation.message, citation.part
    source = {"id": sources[place], "type": _TYPES[citation.modality]}
    if citation.characters is not None:
        text = parts_of(trace.messages[citation.message])[citation.part]["text"]
        selectors = _text_selectors(text, *citation.characters)
        named = source["id"] == citation.source_id  # characters are not those of a page of the web
        return {
            "type": "SpecificResource",
            "purpose": "linking",
            "source": source if named else source | {"format": "text/plain"},
            "selector": selectors[1] if named else selectors,
        }
    return {
        "type": "SpecificResource",
        "purpose": "linking",
        "source": source,
        "selector": {
            "type": "FragmentSelector",
            "conformsTo": _FRAGMENTS,
            "value": _fragment(citation),
        },
    }


def _text_selectors(text: str, start: int, end: int) -> list[dict[str, Any]]:
    return [
        {"type": "TextPositionSelector", "start": start, "end": end},
        {
            "type": "TextQuoteSelector",
            "exact": text[start:end],
            "prefix": text[max(0, start - _CONTEXT_LENGTH) : start],
            "suffix": text[end : end + _CONTEXT_LENGTH],
        },
    ]


def _fragment(citation: Citation) -> str:
    if citation.box is not None:
        x0, y0, x1, y1 = (round(value) for value in citation.box)
        return f"xywh=pixel:{x0},{y0},{x1 - x0},{y1 - y0}"
    start, end = citation.seconds or (0.0, 0.0)
    return f"t={start:g},{end:g}"


def _comment(citation: Citation) -> dict[str, Any]:
    """Say what the model has no term for: the document's name, and how strong the link is."""
    said = [citation.title or citation.document, f"strength {citation.strength:.3f}"]
    if citation.effect is not None:
        said.append(f"effect {citation.effect:+.3f} nats")
    return {
        "type": "TextualBody",
        "purpose": "describing",
        "format": "text/plain",
        "value": "; ".join(said),
    }


def _sources(trace: Trace) -> dict[tuple[int, int], str]:
    """Return the IRI of each part that holds units."""
    found: dict[tuple[int, int], str] = {}
    for (message, number), document in documents_by_part(trace).items():
        part = parts_of(trace.messages[message])[number]
        if document.source_id is not None and _IRI.fullmatch(document.source_id):
            found[message, number] = document.source_id
        elif "media" in part:
            digest = bytes.fromhex(trace.media[part["media"]].sha256)
            found[message, number] = _digest_name(digest)
        else:
            found[message, number] = _digest(part["text"].encode("utf-8", "replace"))
    return found


def _digest(data: bytes) -> str:
    return _digest_name(hashlib.sha256(data).digest())


def _digest_name(digest: bytes) -> str:
    return f"ni:///sha-256;{base64.urlsafe_b64encode(digest).decode('ascii').rstrip('=')}"


def _named(what: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, what).urn


def _generator() -> str:
    return f"omnitrace {importlib.metadata.version('omnitrace-attribution')}"
