"""The shapes of three APIs, against the types that their own packages publish."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import anthropic.types
import cohere.types
import cohere.v2.types
import openai.types.responses
import pydantic
import pytest

from omnitrace import Trace
from omnitrace.errors import InputError
from tests.helpers.cited_traces import ADDRESS, cited_trace, verified_trace
from tests.helpers.sample_traces import LOG, multimodal_trace

TRACES = {"plain": multimodal_trace, "cited": cited_trace, "verified": verified_trace}


@pytest.fixture(params=TRACES)
def trace(request: pytest.FixtureRequest) -> Trace:
    made: Trace = TRACES[request.param]()
    return made


def unknown(value: Any, place: str = "") -> Iterator[str]:
    """Yield what a published type has no field for: these types keep what they do not know."""
    if isinstance(value, pydantic.BaseModel):
        yield from (f"{place}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, list):
        for each in value:
            yield from unknown(each, place)


def checked(kind: type[pydantic.BaseModel], shape: dict[str, Any]) -> Any:
    """Read a shape as JSON into a published type, strictly, and refuse fields that it has not."""
    read = kind.model_validate_json(json.dumps(shape), strict=True)
    assert list(unknown(read)) == []
    return read


def test_openai(trace: Trace) -> None:
    message = checked(openai.types.responses.ResponseOutputMessage, trace.to_openai())
    (content,) = message.content
    spans = trace.citations(section="answer")
    assert content.text.endswith(trace.text[spans[0].start :])
    shift = len(trace.text) - len(content.text)
    expected = [(span, each) for span in spans for each in span.documents]
    assert len(content.annotations) == len(expected)
    for annotation, (span, document) in zip(content.annotations, expected, strict=True):
        if annotation.type == "url_citation":
            assert annotation.url == document.document == ADDRESS
            quoted = content.text[annotation.start_index : annotation.end_index]
            assert quoted == span.text
        else:
            assert annotation.file_id == document.document
            assert annotation.index == span.end - shift


def test_openai_says_titles() -> None:
    (content,) = cited_trace().to_openai()["content"]
    named = {each.get("url", each.get("file_id")): each for each in content["annotations"]}
    assert named[ADDRESS]["title"] == "The pier"
    assert named["log"]["filename"] == "Harbour log"


def test_anthropic(trace: Trace) -> None:
    message = checked(anthropic.types.Message, trace.to_anthropic())
    texts = [block.text for block in message.content if block.type == "text"]
    answer = trace.citations(section="answer")
    first = 0 if answer[0].span == 0 else answer[0].start
    assert "".join(texts) == trace.text[first:]
    cited = [each for block in message.content for each in getattr(block, "citations", ()) or ()]
    expected = [each for span in answer for each in span.citations if each.characters]
    assert [each.cited_text for each in cited] == [each.cited_text for each in expected]
    for each in cited:
        assert each.document_index == 0
        assert LOG[each.start_char_index : each.end_char_index] == each.cited_text
    thoughts = [block for block in message.content if block.type == "thinking"]
    assert bool(thoughts) == (answer[0].span == 1)
    assert message.usage.output_tokens == len(trace.token_ids)


def test_cohere_2(trace: Trace) -> None:
    response = checked(cohere.v2.types.V2ChatResponse, trace.to_cohere())
    spans = [span for span in trace.citations() if span.documents]
    assert len(response.message.citations) == len(spans)
    for citation, span in zip(response.message.citations, spans, strict=True):
        content = response.message.content[citation.content_index]
        text = content.thinking if content.type == "thinking" else content.text
        assert text[citation.start : citation.end] == citation.text == span.text
        assert citation.type == f"{content.type.upper()}_CONTENT"
        assert [source.id for source in citation.sources] == [d.document for d in span.documents]
        assert all(
            set(source.document) <= {"id", "title", "snippet"} for source in citation.sources
        )


def test_cohere_1(trace: Trace) -> None:
    response = checked(cohere.types.NonStreamedChatResponse, trace.to_cohere(version=1))
    spans = [span for span in trace.citations(section="answer") if span.documents]
    assert [each.document_ids for each in response.citations] == [
        [document.document for document in span.documents] for span in spans
    ]
    for citation in response.citations:
        assert response.text[citation.start : citation.end] == citation.text
    cited = {name for each in response.citations for name in each.document_ids}
    assert {each["id"] for each in response.documents} == cited
    with pytest.raises(InputError, match=r"no version 3 .*Legal: 1 or 2"):
        trace.to_cohere(version=3)  # type: ignore[arg-type]


def test_a_response_that_was_cut_says_so() -> None:
    trace = cited_trace()
    cut = dataclasses.replace(trace.provenance, finished=False)
    trace = dataclasses.replace(trace, provenance=cut)
    assert trace.to_openai()["status"] == "incomplete"
    assert trace.to_anthropic()["stop_reason"] == "max_tokens"
    assert trace.to_cohere()["finish_reason"] == "MAX_TOKENS"


def test_an_empty_response_has_its_shape() -> None:
    trace = dataclasses.replace(cited_trace(), text="", spans=())
    checked(openai.types.responses.ResponseOutputMessage, trace.to_openai())
    checked(anthropic.types.Message, trace.to_anthropic())
    checked(cohere.v2.types.V2ChatResponse, trace.to_cohere())
    assert trace.to_markdown().strip() == ""
