"""Who shares a model must not wait for ever: slow readers, nested calls, other threads, forks."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
import warnings
from typing import Any

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from omnitrace import NotSupportedError, ProvisionalEvent, SpanEvent, TokenEvent, Trace, Tracer
from omnitrace.capture.exclusive import model_lock
from omnitrace.errors import ModelError
from omnitrace.streaming import stream as streaming
from omnitrace.streaming import worker as beside
from omnitrace.streaming.stream import EventStream
from omnitrace.trace.events import EndEvent
from tests.helpers.model_state import flags_and_hooks
from tests.helpers.text_adapters import own_text_adapter

MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The lamp costs two coins. The key costs nine coins."},
            {"type": "text", "text": "What does the lamp cost?"},
        ],
    }
]


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer(adapter=own_text_adapter(), signal="attention-mean")


def written(tokens: int) -> dict[str, Any]:
    return {"max_new_tokens": tokens, "min_new_tokens": tokens}


def free(tracer: Tracer) -> bool:
    """Whether another thread can have the model at once."""
    found = list[bool]()

    def take() -> None:
        lock = model_lock(tracer.adapter.model)._lock
        found.append(lock.acquire(blocking=False))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


def in_time(call: Any, seconds: float = 30) -> Any:
    """Return what ``call`` returns in a thread of its own, or fail if it does not."""
    found = list[Any]()

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it waits for ever"
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


class Calling(LogitsProcessor):  # type: ignore[misc]
    """A user's logits processor that calls something at the third token."""

    def __init__(self, call: Any) -> None:
        self.call, self.steps = call, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        if self.steps == 3:
            self.call()
        return scores


def calling(call: Any) -> dict[str, Any]:
    return {"logits_processor": LogitsProcessorList([Calling(call)]), "max_new_tokens": 8}


def test_a_stream_that_nobody_reads_lets_the_model_go(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_MANY", 8)
    stream = tracer.stream(MESSAGES, block=1, queue_size=1, provisional=1, **written(40))
    first = next(stream)
    assert isinstance(in_time(lambda: tracer.trace(MESSAGES, max_new_tokens=3)), Trace)
    events = [first, *stream]
    trace = events[-1].trace  # type: ignore[union-attr]
    assert [e.token for e in events if isinstance(e, TokenEvent)] == list(trace.tokens)
    assert [e.span for e in events if isinstance(e, SpanEvent)] == list(trace.spans)
    kept = [e for e in events if isinstance(e, ProvisionalEvent)]
    assert len(kept) < 9, "of what may still change, a late reader gets nothing"


def test_unread_events_are_the_objects_of_the_trace(tracer: Tracer) -> None:
    """So their memory is bounded by the response."""
    *events, end = tracer.stream(MESSAGES, provisional=None, **written(6))
    trace = end.trace  # type: ignore[union-attr]
    tokens = [e.token for e in events if isinstance(e, TokenEvent)]
    assert all(a is b for a, b in zip(tokens, trace.tokens, strict=True))


def test_a_reader_may_call_the_model_between_two_events(tracer: Tracer) -> None:
    def read() -> int:
        traces = 0
        for event in tracer.stream(MESSAGES, block=1, **written(20)):
            if isinstance(event, TokenEvent) and event.token.index < 2:
                tracer.trace(MESSAGES, max_new_tokens=2)
                traces += 1
        return traces

    assert in_time(read) == 2


def test_a_task_may_call_the_model_between_two_events(tracer: Tracer) -> None:
    async def read() -> Trace:
        async with tracer.astream(MESSAGES, block=1, **written(20)) as events:
            async for _ in events:
                return await tracer.atrace(MESSAGES, max_new_tokens=2)
        raise AssertionError

    assert isinstance(in_time(lambda: asyncio.run(read())), Trace)


def test_who_waits_for_the_model_can_give_up(tracer: Tracer) -> None:
    async def wait() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tracer.atrace(MESSAGES), 0.2)
        async with tracer.astream(MESSAGES) as events:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.2)

    with model_lock(tracer.adapter.model).held():
        in_time(lambda: asyncio.run(wait()), 5)


@pytest.mark.parametrize("queue_size", [0, 4])
@pytest.mark.parametrize("nested", ["trace", "stream", "replay", "effects"])
def test_a_call_out_of_a_run_is_refused(tracer: Tracer, nested: str, queue_size: int) -> None:
    trace = tracer.trace(MESSAGES, max_new_tokens=3)
    calls = {
        "trace": lambda: tracer.trace(MESSAGES),
        "stream": lambda: list(tracer.stream(MESSAGES)),
        "replay": lambda: tracer.replay(MESSAGES, "two coins"),
        "effects": lambda: tracer.effects(trace, torch.ones(1, len(trace.units)).bool()),
    }

    def read() -> None:
        list(tracer.stream(MESSAGES, queue_size=queue_size, **calling(calls[nested])))

    with pytest.raises(NotSupportedError, match="from inside a run that has it"):
        in_time(read)
    assert free(tracer)


def test_a_signal_cannot_wait_for_the_run_that_waits_for_it(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = type(tracer.setup.salience).weights

    def asking(self: Any, text: str, token_ranges: Any) -> Any:
        monkeypatch.undo()
        tracer.trace(MESSAGES)
        return weights(self, text, token_ranges)

    monkeypatch.setattr(type(tracer.setup.salience), "weights", asking)
    with pytest.raises(NotSupportedError, match="from inside a run that has it"):
        in_time(lambda: list(tracer.stream(MESSAGES, **written(4))))
    assert free(tracer)


@pytest.mark.parametrize("signal", ["attention-mean", "grad-sam"])
def test_another_thread_that_calls_the_model_is_named(tracer: Tracer, signal: str) -> None:
    model = tracer.adapter.model
    before = flags_and_hooks(model)
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():
        expected = model(ids).logits
    found = list[torch.Tensor]()

    def untraced() -> None:
        with torch.no_grad():
            found.append(model(ids).logits)

    def elsewhere() -> None:
        thread = threading.Thread(target=untraced, name="a-batch-job")
        thread.start()
        thread.join()

    changed = tracer.with_options(signal=signal)
    with pytest.raises(ModelError, match="'a-batch-job' called the model while it was being"):
        changed.trace(MESSAGES, **calling(elsewhere))
    assert torch.equal(found[0], expected), "what the other thread computes is right"
    assert flags_and_hooks(model) == before
    assert changed.trace(MESSAGES, max_new_tokens=3).tokens


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_a_stop_of_the_users_code_is_an_error(tracer: Tracer, error: type[Exception]) -> None:
    def stop() -> None:
        raise error

    async def read() -> None:
        async for _ in tracer.astream(MESSAGES, **calling(stop)):
            pass

    expected = pytest.raises(RuntimeError, match=f"raised {error.__name__}")
    with expected:
        list(tracer.stream(MESSAGES, **calling(stop)))
    with expected:
        asyncio.run(read())
    with expected:
        asyncio.run(tracer.atrace(MESSAGES, **calling(stop)))
    with expected:
        list(map(functools.partial(tracer.trace, **calling(stop)), [MESSAGES]))


def test_modes_of_modules_come_back_one_by_one(tracer: Tracer) -> None:
    model = tracer.adapter.model
    first, second, *_ = model.get_decoder().layers
    for training in (model, second):
        training.training = True
    try:
        modes = [module.training for module in model.modules()]
        assert not first.training
        tracer.trace(MESSAGES, max_new_tokens=2)
        assert [module.training for module in model.modules()] == modes
    finally:
        model.eval()


@pytest.mark.parametrize("queue_size", [1, 40])
def test_work_that_hangs_beside_the_model_does_not_keep_it(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch, queue_size: int
) -> None:
    begun, go = threading.Event(), threading.Event()

    def hang(self: Any, text: str, token_ranges: Any) -> Any:
        begun.set()
        go.wait(30)
        raise SystemExit

    monkeypatch.setattr(beside, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(type(tracer.setup.salience), "weights", hang)
    stream = tracer.stream(MESSAGES, block=1, queue_size=queue_size, provisional=1, **written(8))
    reader = threading.Thread(target=lambda: list(stream), daemon=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reader.start()
        assert begun.wait(30)
        time.sleep(0.3)  # until the loop waits: for room, or for the last block
        in_time(stream.close, 5)
        reader.join(5)
    assert not reader.is_alive()
    assert any("a signal may hang" in str(each.message) for each in caught)
    assert free(tracer)
    go.set()


def test_a_stream_read_in_two_threads_ends_in_both() -> None:
    go = threading.Event()

    def work(emit: Any) -> None:
        go.wait(30)
        emit(EndEvent(None))  # type: ignore[arg-type]

    stream = EventStream(work)
    found = list[int]()
    threads = [
        threading.Thread(target=lambda: found.append(len(list(stream))), daemon=True)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(found) == [0, 0, 1]


def test_closing_in_another_thread_wakes_the_reader() -> None:
    begun = threading.Event()

    def work(emit: Any) -> None:
        begun.set()
        while True:
            emit.check()
            time.sleep(0.01)

    stream = EventStream(work)
    threading.Thread(target=lambda: (begun.wait(30), stream.close()), daemon=True).start()
    assert in_time(lambda: list(stream)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_the_model_and_refuses_the_streams_of_the_other(
    tracer: Tracer,
) -> None:
    expected = tracer.trace(MESSAGES, max_new_tokens=3).text
    held, done = threading.Event(), threading.Event()

    def work(emit: Any) -> None:
        emit(EndEvent(None))  # type: ignore[arg-type]
        with model_lock(tracer.adapter.model).held():
            held.set()
            done.wait(30)

    stream = EventStream(work)
    next(stream)
    held.wait(30)
    child = os.fork()
    if child == 0:
        try:
            same = tracer.trace(MESSAGES, max_new_tokens=3).text == expected
            next(stream)
        except NotSupportedError as error:
            os._exit(0 if same and "forked" in str(error) else 3)
        finally:
            os._exit(4)
    done.set()
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < deadline, "the child waits for ever"
        time.sleep(0.02)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
