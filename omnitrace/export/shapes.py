"""One document for each trace: Markdown, its citations, and the shapes of three APIs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Final

from omnitrace._utils.file_names import safe_name
from omnitrace.export.base import ExportedFile, NamedTrace, json_bytes
from omnitrace.trace.trace import Trace

__all__ = ["CITATIONS_VERSION", "Anthropic", "Citations", "Cohere", "Markdown", "OpenAI"]

CITATIONS_VERSION: Final = 1


class Markdown:
    """The answer with ``[n]`` markers and footnotes; see :meth:`Trace.to_markdown`."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield a file for each trace."""
        for name, trace in traces:
            text = trace.to_markdown()
            yield ExportedFile(f"{safe_name(name)}.md", text.encode("utf-8", "replace"))


class _Document:
    """Writes one JSON document for each trace."""

    kind: str

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield a file for each trace."""
        for name, trace in traces:
            file = f"{safe_name(name)}.{self.kind}.json"
            yield ExportedFile(file, json_bytes(self.document(name, trace)))

    def document(self, name: str, trace: Trace) -> dict[str, Any]:
        """Return the document of one trace."""
        raise NotImplementedError


class Citations(_Document):
    """All that :meth:`Trace.citations` and :meth:`Trace.documents` say."""

    kind = "citations"

    def document(self, name: str, trace: Trace) -> dict[str, Any]:
        """Return documents and spans."""
        return {
            "format": "omnitrace-citations",
            "version": CITATIONS_VERSION,
            "request": name,
            "text": trace.text,
            "documents": [dataclasses.asdict(each) for each in trace.documents()],
            "spans": [each.to_dict() for each in trace.citations()],
        }


class OpenAI(_Document):
    """The output message of OpenAI's Responses API; see :meth:`Trace.to_openai`."""

    kind = "openai"

    def document(self, name: str, trace: Trace) -> dict[str, Any]:
        """Return the message."""
        return trace.to_openai()


class Anthropic(_Document):
    """The message of Anthropic's Messages API; see :meth:`Trace.to_anthropic`."""

    kind = "anthropic"

    def document(self, name: str, trace: Trace) -> dict[str, Any]:
        """Return the message."""
        return trace.to_anthropic()


class Cohere(_Document):
    """The response of Cohere's chat; see :meth:`Trace.to_cohere`."""

    kind = "cohere"

    def __init__(self, version: int = 2) -> None:
        self.version = version

    def document(self, name: str, trace: Trace) -> dict[str, Any]:
        """Return the response."""
        return trace.to_cohere(self.version)  # type: ignore[arg-type]
