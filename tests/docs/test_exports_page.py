"""The page of exports names every built-in format, and that of citations every field."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

import pytest

from omnitrace import Citation, Document, DocumentCitation, SpanCitations, builtin
from omnitrace.plugins.registry import Entry, build_registry

REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference"
EXPORTS: Final = (REFERENCE / "exports.md").read_text(encoding="utf-8")
CITATIONS: Final = (REFERENCE / "citations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "entry", build_registry({"omnitrace": builtin}).exporters.values(), ids=lambda entry: entry.name
)
def test_every_builtin_exporter_is_documented(entry: Entry) -> None:
    assert f"`{entry.name}`" in EXPORTS
    assert entry.summary
    assert type(entry.make()).__doc__


@pytest.mark.parametrize("kind", [SpanCitations, Citation, DocumentCitation, Document])
def test_every_field_of_a_citation_is_documented(kind: Any) -> None:
    for field in dataclasses.fields(kind):
        assert f"`{field.name}`" in CITATIONS
        assert field.name in str(kind.__doc__)
