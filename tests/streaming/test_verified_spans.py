"""Spans that are verified as soon as they end, between two tokens of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnitrace import InputError, NotSupportedError, SpanEvent, TokenEvent, Trace, Tracer
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.sources.request_files import RequestEntry, read_requests
from omnitrace.trace.events import EndEvent, Event
from omnitrace.types import Message, Span

TWO = [
    {"type": "text", "text": "The coin costs three coins. The garden was quiet."},
    {"type": "text", "text": "What does the coin cost? What does the spoon cost?"},
]


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer.from_pretrained("reference")


def streamed(tracer: Tracer, messages: list[Message]) -> tuple[list[Event], list[Span], Trace]:
    """Return the events before the last, their spans, and the trace of the last."""
    *before, last = tracer.stream(messages, verify_spans=True)
    assert isinstance(last, EndEvent)
    return before, [each.span for each in before if isinstance(each, SpanEvent)], last.trace


def check_same(streamed: Trace, offline: Trace) -> None:
    """Verifying between tokens changes nothing that the model then writes, or that is seen."""
    assert streamed.token_ids == offline.token_ids
    np.testing.assert_array_equal(streamed.scores, offline.scores)
    assert streamed.spans == offline.spans


def test_spans_carry_verdicts_while_the_model_writes(tracer: Tracer) -> None:
    messages: list[Message] = [{"role": "user", "content": TWO}]
    events, spans, trace = streamed(tracer, messages)
    check_same(trace, tracer.trace(messages))
    assert [span.verdict for span in spans] == ["supported", "no-source"]
    assert [each.unit.preview for each in spans[0].supports] == ["The coin costs three coins."]
    assert [span.index for span in spans] == [0, 1]
    for span, final in zip(spans, trace.spans, strict=True):
        assert (span.text, span.verdict) == (final.text, final.verdict)
        assert span.sources_effect == pytest.approx(final.sources_effect, abs=1e-3)
    first = next(number for number, event in enumerate(events) if isinstance(event, SpanEvent))
    assert any(isinstance(event, TokenEvent) for event in events[first:]), "it still writes"
    assert trace.provenance.timings["verify_spans"] > 0


def test_what_the_model_keeps_between_tokens_is_left(tracer: Tracer, tmp_path: Path) -> None:
    """Its multimodal positions go on where they were."""
    sample = make_sample(held_out_seed(3), questions=2, order=("image",), long=False)
    (request,) = read_requests(write_sample(sample, tmp_path))
    assert isinstance(request, RequestEntry)
    *_, last = tracer.stream(request.messages, media_root=tmp_path, verify_spans=True)
    assert isinstance(last, EndEvent)
    assert len(last.trace.spans) > 1
    check_same(last.trace, tracer.trace(request.messages, media_root=tmp_path))


def test_what_cannot_be_verified_between_tokens(tracer: Tracer) -> None:
    messages: list[Message] = [{"role": "user", "content": TWO}]
    with pytest.raises(InputError, match="does not verify"):
        tracer.with_options(verify=False).stream(messages, verify_spans=True)
    with pytest.raises(NotSupportedError, match="grad-sam"):
        tracer.with_options(signal="grad-sam", verify=True).stream(messages, verify_spans=True)
