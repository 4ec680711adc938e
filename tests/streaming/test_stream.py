"""Streams: equal to traces, in step with a worker, and broken off at awkward moments."""

from __future__ import annotations

import copy
import dataclasses
import gc
import itertools
import threading
import time
from typing import Any

import numpy as np
import pytest

from omnitrace import (
    InputError,
    NotSupportedError,
    ProvisionalEvent,
    SpanEvent,
    TokenEvent,
    Tracer,
)
from omnitrace.segmentation.salience import Salience
from omnitrace.streaming.stream import EventStream
from omnitrace.trace.events import EndEvent
from tests.helpers.live_signals import DepthWeighted, with_signal
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.tower_request import ANSWER, MESSAGES, dictated


def test_ctrl_c_while_the_worker_starts_leaves_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    finished = threading.Event()

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    def work(emit: Any) -> None:
        try:
            while True:
                emit(None)
        finally:
            finished.set()

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    stream = EventStream(work)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert finished.is_set(), "the worker has left before the interrupt goes on"
    assert next(stream, "over") == "over"


def test_a_dropped_stream_stops_its_worker_and_a_closed_one_runs_nothing() -> None:
    finished = threading.Event()

    def work(emit: Any) -> None:
        try:
            while True:
                emit(EndEvent(None))  # type: ignore[arg-type]
        finally:
            finished.set()

    stream = EventStream(work)
    next(stream)
    assert stream._dropped.alive
    del stream
    gc.collect()
    assert finished.wait(10)
    closed = EventStream(work)
    closed.close()
    assert not closed._dropped.alive


@pytest.fixture(scope="module")
def options(reference: Tracer) -> dict[str, Any]:
    return dictated(reference, MESSAGES)


@pytest.mark.parametrize("signal", ["attention-mean", "value-attention", "grad-sam", "live"])
@pytest.mark.parametrize("queue_size", [0, 1, 4])
def test_the_final_trace_is_the_offline_trace_to_the_last_bit(
    reference: Tracer, options: dict[str, Any], signal: str, queue_size: int
) -> None:
    if signal == "live":
        tracer = with_signal(reference, DepthWeighted())
    else:
        tracer = Tracer(adapter=reference.adapter, signal=signal)
    offline = tracer.trace(MESSAGES, **options)
    events = list(tracer.stream(MESSAGES, queue_size=queue_size, provisional=3, **options))
    streamed = events[-1].trace  # type: ignore[union-attr]
    assert streamed.text == offline.text == ANSWER
    assert streamed.token_ids == offline.token_ids
    np.testing.assert_array_equal(streamed.scores, offline.scores)
    np.testing.assert_array_equal(streamed.salience, offline.salience)
    assert streamed.tokens == offline.tokens
    assert streamed.spans == offline.spans
    assert len(streamed.spans) == 3
    tokens = [event.token for event in events if isinstance(event, TokenEvent)]
    spans = [event.span for event in events if isinstance(event, SpanEvent)]
    assert (tuple(tokens), tuple(spans)) == (streamed.tokens, streamed.spans)


def test_a_span_gets_its_final_supports_with_the_block_that_ends_it(
    reference: Tracer, options: dict[str, Any]
) -> None:
    """No token after the one that decides the boundary comes before the span."""
    token = None
    for event in reference.stream(MESSAGES, **options):
        if isinstance(event, TokenEvent):
            token = event.token
        elif isinstance(event, SpanEvent) and event.span.end < len(ANSWER):
            decided = ANSWER.index(" ", event.span.end + 1)  # the end of the next word
            assert token is not None
            assert token.start <= decided < token.end


def test_provisional_supports_come_while_a_span_grows(
    reference: Tracer, options: dict[str, Any]
) -> None:
    events = list(reference.stream(MESSAGES, block=2, provisional=4, **options))
    growing = [event.span for event in events if isinstance(event, ProvisionalEvent)]
    spans = [event.span for event in events if isinstance(event, SpanEvent)]
    assert len(growing) > len(spans)
    for span in growing:
        assert span.text == ANSWER[span.start : span.end]
        final = spans[span.index]
        # The text of a span may still end elsewhere, but it begins where the span does.
        assert span.start == final.start
        assert span.token_start == final.token_start
        assert span.token_end - span.token_start > 0
    lengths = [span.token_end - span.token_start for span in growing if span.index == 0]
    assert lengths == sorted(set(lengths))
    assert all(later - former >= 4 for former, later in itertools.pairwise(lengths))


def test_provisional_supports_of_a_whole_span_are_its_final_ones(
    reference: Tracer, options: dict[str, Any]
) -> None:
    """The last block of a response shows the whole of its last span, which is still open then."""
    events = list(reference.stream(MESSAGES, block=1, provisional=1, **options))
    growing = [event.span for event in events if isinstance(event, ProvisionalEvent)]
    final = events[-1].trace.spans[-1]  # type: ignore[union-attr]
    assert growing[-1].text == final.text
    assert growing[-1] == final


def test_without_provisional_supports_there_are_none(
    reference: Tracer, options: dict[str, Any]
) -> None:
    events = reference.stream(MESSAGES, provisional=None, **options)
    assert not any(isinstance(event, ProvisionalEvent) for event in events)


@pytest.mark.parametrize(
    ("name", "value"),
    [("block", 0), ("block", 2.5), ("queue_size", -1), ("provisional", 0), ("queue_size", True)],
)
def test_options_without_meaning_are_refused(reference: Tracer, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}"):
        reference.stream(MESSAGES, **{name: value})


class Slow(Salience):
    """Stands still at every span until it is let go, or fails."""

    def __init__(self, salience: Salience, go: threading.Event, error: Exception | None) -> None:
        super().__init__(salience._nlp, name=salience.name, tagged=False)
        self._go = go
        self._error = error

    def weights(self, text: str, token_ranges: Any) -> Any:
        assert self._go.wait(30)
        if self._error is not None:
            raise self._error
        return super().weights(text, token_ranges)


def slowed(reference: Tracer, error: Exception | None = None) -> tuple[Tracer, threading.Event]:
    tracer, go = copy.copy(reference), threading.Event()
    slow = Slow(reference.setup.salience, go, error)
    tracer.setup = dataclasses.replace(reference.setup, salience=slow)
    return tracer, go


def test_decoding_waits_while_the_queue_is_full_and_nothing_is_lost(
    reference: Tracer, options: dict[str, Any]
) -> None:
    tracer, go = slowed(reference)
    with tracer.stream(MESSAGES, block=1, queue_size=2, provisional=None, **options) as stream:
        events = [next(stream)]

        def stands_still() -> bool:
            handed_over = stream.backlog.blocks
            time.sleep(0.5)
            return stream.backlog.blocks == handed_over

        deadline = time.monotonic() + 60
        # The worker stands still at the first span, and decoding when the queue is full.
        while stream.backlog.longest < 2 or not stands_still():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert stands_still(), "decoding waits"
        go.set()
        events += stream
    trace = events[-1].trace  # type: ignore[union-attr]
    assert stream.backlog.waits >= 1
    assert stream.backlog.longest == 2
    assert trace.provenance.timings["waiting"] == pytest.approx(stream.backlog.seconds, abs=1e-5)
    assert trace.provenance.timings["waiting"] > 0.1
    assert trace.text == ANSWER
    assert len([e for e in events if isinstance(e, TokenEvent)]) == len(trace.tokens)
    assert len([e for e in events if isinstance(e, SpanEvent)]) == 3


def test_an_error_beside_the_decoding_loop_is_raised_where_events_are_read(
    reference: Tracer, options: dict[str, Any]
) -> None:
    before = state(reference.adapter.model)
    tracer, go = slowed(reference, error=ZeroDivisionError("a bug beside"))
    go.set()
    with pytest.raises(ZeroDivisionError, match="a bug beside"):
        list(tracer.stream(MESSAGES, **options))
    assert_unchanged(reference.adapter.model, before)
    assert not threads()


def test_closing_stops_both_threads_also_when_decoding_waits(
    reference: Tracer, options: dict[str, Any]
) -> None:
    before = state(reference.adapter.model)
    tracer, go = slowed(reference)
    stream = tracer.stream(MESSAGES, block=1, queue_size=1, **options)
    next(stream)
    assert len(threads()) == 2
    threading.Timer(0.3, go.set).start()
    stream.close()
    assert not threads()
    assert_unchanged(reference.adapter.model, before)


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("omnitrace-")]


QUESTION = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The lamp weighs 5 grams."},
            {"type": "text", "text": "What is the weight of the lamp?"},
        ],
    }
]


def test_the_request_is_known_before_the_first_token(reference: Tracer) -> None:
    stream = reference.stream(QUESTION)
    begun = stream.begun()
    assert (begun.text, begun.tokens, begun.spans) == ("", (), ())
    with stream:
        *_, last = stream
    assert isinstance(last, EndEvent)
    assert begun.units == last.trace.units
    assert begun.messages == last.trace.messages
    assert begun.prompt_ids == last.trace.prompt_ids
    for asked in (stream, EventStream(lambda emit: None)):
        with pytest.raises(NotSupportedError, match="no request that is still to be answered"):
            asked.begun()


def test_a_stream_is_stopped_from_another_thread(reference: Tracer) -> None:
    stream = reference.stream(QUESTION, min_new_tokens=400, max_new_tokens=400, block=1)
    read = 0
    for event in stream:
        assert not isinstance(event, EndEvent)
        read += 1
        if read == 3:
            stopping = threading.Thread(target=stream.stop)
            stopping.start()
            stopping.join()
    assert read < 400
    assert reference.trace(QUESTION).text


def test_what_verifies_a_stream_says_so(reference: Tracer) -> None:
    measured: list[int] = []
    tracer = reference.with_options(verify=True)
    options: dict[str, Any] = {"measured": lambda masks: measured.append(masks.shape[1])}
    *_, last = tracer.stream(QUESTION, **options)
    assert isinstance(last, EndEvent)
    assert set(measured) == {len(last.trace.units)}
    assert last.trace.spans[0].verdict is not None
