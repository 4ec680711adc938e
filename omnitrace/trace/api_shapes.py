"""A traced response in the shapes in which OpenAI, Anthropic and Cohere return citations.

``docs/reference/citations.md`` says field by field what each shape holds and what it cannot say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args

from omnitrace.errors import InputError
from omnitrace.trace.citations import (
    Document,
    SpanCitations,
    citations_of,
    documents_of,
    parts_of,
    sections_of,
)
from omnitrace.trace.record import TraceRecord

__all__ = ["CohereVersion", "to_anthropic", "to_cohere", "to_openai"]

CohereVersion = Literal[1, 2]

_WEB: Final = ("http://", "https://")


def to_openai(trace: TraceRecord) -> dict[str, Any]:
    """Return the answer as an output message of the Responses API; see :meth:`Trace.to_openai`."""
    documents = {each.id: each for each in documents_of(trace)}
    cited = citations_of(trace)
    content = []
    for section, start, end in sections_of(trace):
        if section == "thought":
            continue
        annotations = [
            _annotation(documents[each.document], span.start - start, span.end - start)
            for span in _within(cited, start, end)
            for each in span.documents
        ]
        text = trace.text[start:end]
        content.append({"type": "output_text", "text": text, "annotations": annotations})
    return {
        "id": f"msg_{_digest(trace)}",
        "type": "message",
        "role": "assistant",
        "status": "completed" if trace.provenance.finished else "incomplete",
        "content": content,
    }


def _annotation(document: Document, start: int, end: int) -> dict[str, Any]:
    if document.id.startswith(_WEB):
        return {
            "type": "url_citation",
            "start_index": start,
            "end_index": end,
            "url": document.id,
            "title": document.name,
        }
    return {
        "type": "file_citation",
        "index": end,
        "file_id": document.id,
        "filename": document.name,
    }


def to_anthropic(trace: TraceRecord) -> dict[str, Any]:
    """Return the response as a message of the Messages API; see :meth:`Trace.to_anthropic`."""
    places = {(u.locator.message, u.locator.part) for u in trace.units if u.modality == "text"}
    texts = {place: index for index, place in enumerate(sorted(places))}
    cited = citations_of(trace)
    content: list[dict[str, Any]] = []
    for section, start, end in sections_of(trace):
        text = trace.text[start:end]
        if section == "thought":
            content.append({"type": "thinking", "thinking": text, "signature": ""})
            continue
        for piece, span in _pieces(trace, _within(cited, start, end), start, end):
            locations = [
                {
                    "type": "char_location",
                    "cited_text": each.cited_text,
                    "document_index": texts[each.message, each.part],
                    "document_title": each.title,
                    "start_char_index": each.characters[0],
                    "end_char_index": each.characters[1],
                }
                for each in (span.citations if span else ())
                if each.characters is not None
            ]
            content.append({"type": "text", "text": piece, "citations": locations or None})
    return {
        "id": f"msg_{_digest(trace)}",
        "type": "message",
        "role": "assistant",
        "model": trace.provenance.model,
        "content": content,
        "stop_reason": "end_turn" if trace.provenance.finished else "max_tokens",
        "stop_sequence": None,
        "usage": {"input_tokens": len(trace.prompt_ids), "output_tokens": len(trace.token_ids)},
    }


def _pieces(
    trace: TraceRecord, spans: Sequence[SpanCitations], start: int, end: int
) -> Iterator[tuple[str, SpanCitations | None]]:
    """Cut a section into its spans and the text between them; together they are all of it."""
    at = start
    for span in sorted(spans, key=lambda each: each.start):
        if span.start > at:
            yield trace.text[at : span.start], None
        if span.end > max(at, span.start):
            yield trace.text[max(at, span.start) : span.end], span
            at = span.end
    if at < end:
        yield trace.text[at:end], None


def to_cohere(trace: TraceRecord, version: CohereVersion = 2) -> dict[str, Any]:
    """Return the response of a chat, in version 1 or 2; see :meth:`Trace.to_cohere`.

    Raises
    ------
    InputError
        If there is no such version.
    """
    if version not in get_args(CohereVersion):
        raise InputError(f"there is no version {version!r} of Cohere's chat", legal="1 or 2")
    documents = {each.id: each for each in documents_of(trace)}
    usage = {"input_tokens": len(trace.prompt_ids), "output_tokens": len(trace.token_ids)}
    finish = "COMPLETE" if trace.provenance.finished else "MAX_TOKENS"
    if version == 1:
        return _cohere_v1(trace, documents) | {"finish_reason": finish, "meta": {"tokens": usage}}
    cited = citations_of(trace)
    content: list[dict[str, Any]] = []
    citations: list[dict[str, Any]] = []
    for index, (section, start, end) in enumerate(sections_of(trace)):
        kind = "thinking" if section == "thought" else "text"
        content.append({"type": kind, kind: trace.text[start:end]})
        citations += [
            {
                "start": span.start - start,
                "end": span.end - start,
                "text": span.text,
                "sources": [
                    {
                        "type": "document",
                        "id": each.document,
                        "document": _cohere_document(trace, documents[each.document]),
                    }
                    for each in span.documents
                ],
                "content_index": index,
                "type": f"{kind.upper()}_CONTENT",
            }
            for span in _within(cited, start, end)
            if span.documents
        ]
    message = {"role": "assistant", "content": content, "citations": citations}
    return {
        "id": _digest(trace),
        "finish_reason": finish,
        "message": message,
        "usage": {"tokens": usage},
    }


def _cohere_v1(trace: TraceRecord, documents: dict[str, Document]) -> dict[str, Any]:
    spans = citations_of(trace)
    text = ""
    citations: list[dict[str, Any]] = []
    for section, start, end in sections_of(trace):
        if section == "thought":
            continue
        citations += [
            {
                "start": span.start - start + len(text),
                "end": span.end - start + len(text),
                "text": span.text,
                "document_ids": [each.document for each in span.documents],
                "type": "TEXT_CONTENT",
            }
            for span in _within(spans, start, end)
            if span.documents
        ]
        text += trace.text[start:end]
    cited = dict.fromkeys(name for each in citations for name in each["document_ids"])
    return {
        "generation_id": _digest(trace),
        "text": text,
        "citations": citations,
        "documents": [_cohere_document(trace, documents[name]) for name in cited],
    }


def _cohere_document(trace: TraceRecord, document: Document) -> dict[str, str]:
    """Describe a document: all of its values are strings, as Cohere has them."""
    texts = [
        str(parts_of(trace.messages[message])[part].get("text") or "")
        for message, part in document.parts
    ]
    found = {"id": document.id, "title": document.name}
    if snippet := "\n".join(filter(None, texts)):
        found["snippet"] = snippet
    return found


def _within(spans: Sequence[SpanCitations], start: int, end: int) -> list[SpanCitations]:
    """Return the spans of a section."""
    return [each for each in spans if start <= each.start and each.end <= end]


def _digest(trace: TraceRecord) -> str:
    """Return an identifier: the same for the same response to the same request."""
    said = f"{trace.provenance.created}\0{trace.prompt_ids}\0{trace.token_ids}"
    return hashlib.sha256(said.encode()).hexdigest()[:24]
