"""Responses and chunks as OpenAI's client types them, with attributions beside."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from omnitrace import Tracer
from omnitrace.reference.files import request as reference_request
from omnitrace.reference.world import make_sample
from omnitrace.serve.openai.attribution import Attribution, AttributionDelta
from omnitrace.serve.openai.responses import ChatWriter
from omnitrace.trace.events import EndEvent, Event
from omnitrace.trace.trace import Trace

WEB, FILE = "https://example.org/lamp", "notes"
MESSAGES: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The garden was quiet.", "source_id": FILE},
            {
                "type": "text",
                "text": "The lamp weighs five grams. The cup weighs two grams.",
                "source_id": WEB,
                "title": "Lamps",
            },
            {"type": "text", "text": "What is the weight of the lamp?"},
        ],
    }
]


@pytest.fixture(scope="module")
def events(reference: Tracer) -> list[Event]:
    return list(reference.stream(MESSAGES, max_new_tokens=24, block=4, provisional=2))


@pytest.fixture(scope="module")
def trace(events: list[Event]) -> Trace:
    last = events[-1]
    assert isinstance(last, EndEvent)
    assert "five" in last.trace.text
    return last.trace


def chunks_of(writer: ChatWriter, events: list[Event], trace: Trace) -> list[dict[str, Any]]:
    chunks = writer.start(opened=False)
    for event in events[:-1]:
        chunks += writer.take(event)
    return chunks + writer.end(trace)


def test_a_completion_is_one_of_openai(reference: Tracer, trace: Trace) -> None:
    body = ChatWriter("reference", reference.setup).completion(trace)
    found = ChatCompletion.model_validate(body, strict=True)
    assert found.choices[0].message.content == trace.text
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert found.usage.total_tokens == len(trace.prompt_ids) + len(trace.token_ids)


def test_the_attribution_names_each_source_once(reference: Tracer, trace: Trace) -> None:
    body = ChatWriter("reference", reference.setup).completion(trace)
    found = Attribution.model_validate(body["attribution"])
    assert found.version == 1
    sources = {source.id: source for source in found.sources}
    assert len(sources) == len(found.sources)
    (span,) = found.spans
    best = sources[span.supports[0].source]
    assert (best.text, best.source_id, best.title) == ("The lamp weighs five grams.", WEB, "Lamps")
    assert best.characters == (0, 27)
    assert not found.verified
    assert not span.verified


def test_documents_of_the_web_are_annotations(reference: Tracer, trace: Trace) -> None:
    body = ChatWriter("reference", reference.setup).completion(trace)
    found = ChatCompletion.model_validate(body, strict=True)
    annotations = found.choices[0].message.annotations
    assert annotations is not None
    (annotation,) = annotations
    cited = annotation.url_citation
    assert (cited.url, cited.title) == (WEB, "Lamps")
    span = trace.spans[0]
    assert (cited.start_index, cited.end_index) == (span.start, span.end)


def test_chunks_joined_are_the_completion(
    reference: Tracer, trace: Trace, events: list[Event]
) -> None:
    writer = ChatWriter("reference", reference.setup, usage=True)
    chunks = chunks_of(writer, events, trace)
    found = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks]
    assert len({chunk.id for chunk in found}) == 1
    assert found[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in found[:-1])
    assert text == trace.text
    reasons = [chunk.choices[0].finish_reason for chunk in found[:-1]]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == "stop"
    assert found[-1].choices == []
    assert found[-1].usage is not None
    assert chunks[-2]["attribution"] == writer.completion(trace)["attribution"]


def test_supports_come_while_the_response_is_written(
    reference: Tracer, trace: Trace, events: list[Event]
) -> None:
    chunks = chunks_of(ChatWriter("reference", reference.setup), events, trace)
    deltas = [
        AttributionDelta.model_validate(chunk["attribution"])
        for chunk in chunks[:-1]
        if "attribution" in chunk
    ]
    provisional = [delta for delta in deltas if delta.provisional is not None]
    ended = [span for delta in deltas for span in delta.spans]
    assert provisional
    assert [span.text for span in ended] == [span.text for span in trace.spans]
    named = [source.id for delta in deltas for source in delta.sources]
    assert len(named) == len(set(named))
    used = {
        support.source
        for delta in deltas
        for span in [*delta.spans, *([delta.provisional] if delta.provisional else [])]
        for support in span.supports
    }
    assert used == set(named)


def test_all_may_come_at_the_end(reference: Tracer, trace: Trace, events: list[Event]) -> None:
    writer = ChatWriter("reference", reference.setup)
    chunks = chunks_of(writer, events[-1:], trace)
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == trace.text
    assert chunks[-1]["attribution"] == writer.completion(trace)["attribution"]


def test_who_does_not_want_attributions_gets_none(
    reference: Tracer, trace: Trace, events: list[Event]
) -> None:
    writer = ChatWriter("reference", reference.setup, attributes=False)
    chunks = chunks_of(writer, events, trace)
    assert all("attribution" not in chunk for chunk in [*chunks, writer.completion(trace)])


def test_a_stop_text_cuts_text_and_attribution(
    reference: Tracer, trace: Trace, events: list[Event]
) -> None:
    at = trace.text.index("five")
    writer = ChatWriter("reference", reference.setup, stops=("five",))
    chunks = chunks_of(writer, events, trace)
    body = writer.completion(trace)
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == body["choices"][0]["message"]["content"] == trace.text[:at]
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["attribution"]["spans"][0]["end"] == at
    assert body["choices"][0]["message"]["annotations"][0]["url_citation"]["end_index"] == at
    assert chunks[-1]["attribution"] == body["attribution"]


def test_thoughts_are_reasoning() -> None:
    thinking = Tracer.from_pretrained("reference-thinking", signal="attention-mean")
    request: Any = reference_request(make_sample(5, questions=1, thinking=True))
    events = list(thinking.stream(request["messages"], max_new_tokens=96, block=4))
    last = events[-1]
    assert isinstance(last, EndEvent)
    writer = ChatWriter("m", thinking.setup)
    chunks = chunks_of(writer, events, last.trace)
    body = writer.completion(last.trace)
    message = body["choices"][0]["message"]
    for name in ("content", "reasoning", "reasoning_content"):
        deltas = [chunk["choices"][0]["delta"].get(name, "") for chunk in chunks]
        assert message[name] == "".join(deltas)
        assert message[name]
    assert "think>" not in message["content"] + message["reasoning"]
    sections = {span["section"] for span in body["attribution"]["spans"]}
    assert sections == {"thought", "answer"}
    for span in body["attribution"]["spans"]:
        text = message["content" if span["section"] == "answer" else "reasoning"]
        assert text[span["start"] : span["end"]] == span["text"]
    thoughts = body["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < thoughts < body["usage"]["completion_tokens"]


def test_a_response_that_was_cut_says_so(reference: Tracer) -> None:
    cut = reference.trace(MESSAGES, max_new_tokens=3)
    body = ChatWriter("reference", reference.setup).completion(cut)
    assert body["choices"][0]["finish_reason"] == "length"
