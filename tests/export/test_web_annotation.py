"""Web Annotations: every name is of the W3C's context, and selectors find what they name.

The context (https://www.w3.org/ns/anno.jsonld) cannot be fetched in a test. Its names that a
collection may use are listed here, as the Web Annotation Vocabulary (W3C Recommendation, 2017) has
them, so that none is lost when a reader expands the document.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from omnitrace import Trace
from omnitrace.export import exported_files
from tests.helpers.cited_traces import ADDRESS, cited_trace, verified_trace
from tests.helpers.sample_traces import LOG

TERMS = {
    *("@context", "id", "type", "body", "target", "source", "selector", "motivation", "purpose"),
    *("created", "generator", "name", "value", "format", "start", "end", "exact", "prefix"),
    *("suffix", "conformsTo", "label", "total", "first", "partOf", "startIndex", "items"),
}
CLASSES = {
    *("Annotation", "AnnotationCollection", "AnnotationPage", "SpecificResource", "TextualBody"),
    *("TextPositionSelector", "TextQuoteSelector", "FragmentSelector", "Software"),
    *("Text", "Image", "Audio", "Video"),
}
MOTIVATIONS = {"linking", "describing"}
IRI = re.compile(r"(urn:uuid:[0-9a-f-]{36}|ni:///sha-256;[\w-]{43}|https?://\S+)")


def exported(trace: Trace) -> dict[str, Any]:
    (file,) = exported_files([("harbour", trace)], "web-annotation")
    document: dict[str, Any] = json.loads(file.data)
    return document


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from objects(each)


@pytest.mark.parametrize("make", [cited_trace, verified_trace])
def test_every_name_is_in_the_vocabulary(make: Any) -> None:
    document = exported(make())
    assert document["@context"] == "http://www.w3.org/ns/anno.jsonld"
    for each in objects(document):
        assert set(each) <= TERMS
        assert each.get("type", "Text") in CLASSES
        assert {each[name] for name in ("motivation", "purpose") if name in each} <= MOTIVATIONS
        assert IRI.fullmatch(each.get("id", document["id"]))


def test_a_collection_is_complete() -> None:
    trace = cited_trace()
    document = exported(trace)
    page = document["first"]
    assert (document["type"], page["type"]) == ("AnnotationCollection", "AnnotationPage")
    assert page["partOf"] == document["id"]
    count = sum(len(span.citations) for span in trace.citations())
    assert document["total"] == len(page["items"]) == count
    assert len({each["id"] for each in page["items"]}) == count
    assert exported(trace) == document


def test_selectors_find_the_statement_and_its_source() -> None:
    trace = cited_trace()
    items = exported(trace)["first"]["items"]
    cited = [(span, each) for span in trace.citations() for each in span.citations]
    for item, (span, citation) in zip(items, cited, strict=True):
        position, quote = item["target"]["selector"]
        assert trace.text[position["start"] : position["end"]] == quote["exact"] == span.text
        around = quote["prefix"] + quote["exact"] + quote["suffix"]
        assert trace.text.count(around) == 1
        body, comment = item["body"]
        assert f"strength {citation.strength:.3f}" in comment["value"]
        if citation.modality == "text":
            position, quote = body["selector"]
            assert LOG[position["start"] : position["end"]] == quote["exact"]
        else:
            assert body["selector"]["conformsTo"] == "http://www.w3.org/TR/media-frags/"
    values = {
        cited[i][1].unit: item["body"][0]["selector"]["value"]
        for i, item in enumerate(items)
        if cited[i][1].modality != "text"
    }
    assert values["image-8"] == "xywh=pixel:900,300,300,300"
    assert values["audio-2"] == "t=2,4"


def test_sources_are_named_by_address_or_digest() -> None:
    trace = cited_trace()
    bodies = [item["body"][0] for item in exported(trace)["first"]["items"]]
    by_type = {body["source"]["type"]: body["source"]["id"] for body in bodies}
    assert by_type["Image"] == ADDRESS
    assert by_type["Audio"].startswith("ni:///sha-256;")
    assert by_type["Text"] != by_type["Audio"]


def test_characters_of_a_text_are_not_claimed_of_a_page_of_the_web() -> None:
    trace = cited_trace()
    units = tuple(
        dataclasses.replace(unit, source_id="https://example.org/log")
        if unit.modality == "text"
        else unit
        for unit in trace.units
    )
    layout = dataclasses.replace(trace.layout, units=units)
    trace = dataclasses.replace(trace, layout=layout).reselect(trace.config)
    bodies = [item["body"][0] for item in exported(trace)["first"]["items"]]
    texts = [body for body in bodies if body["source"]["type"] == "Text"]
    assert texts
    for body in texts:
        assert body["source"]["id"] == "https://example.org/log"
        assert body["selector"]["type"] == "TextQuoteSelector"
