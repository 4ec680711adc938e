"""Tracing in asyncio: the same results, an event loop that goes on, and a model that stops."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers.generation.streamers import BaseStreamer

from omnitrace import EndEvent, InputError, TokenEvent, Trace, Tracer
from omnitrace.streaming.async_stream import AsyncEventStream
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.tower_request import MESSAGES

LONG = {"max_new_tokens": 400, "min_new_tokens": 400}


class Counting(BaseStreamer):
    """Counts the tokens that the model writes."""

    def __init__(self) -> None:
        self.tokens = -1  # the prompt comes first

    def put(self, value: torch.Tensor) -> None:
        self.tokens += 1

    def end(self) -> None:
        pass


async def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("omnitrace-") for thread in threading.enumerate())


def same(first: Trace, second: Trace) -> bool:
    return (
        first.token_ids == second.token_ids
        and first.tokens == second.tokens
        and first.spans == second.spans
        and bool((first.scores == second.scores).all())
    )


def test_an_asynchronous_trace_is_the_trace(reference: Tracer) -> None:
    expected = reference.trace(MESSAGES, max_new_tokens=12)
    assert same(asyncio.run(reference.atrace(MESSAGES, max_new_tokens=12)), expected)


def test_an_asynchronous_stream_has_the_streams_events(reference: Tracer) -> None:
    async def read() -> list[Any]:
        return [event async for event in reference.astream(MESSAGES, max_new_tokens=12)]

    found = asyncio.run(read())
    expected = list(reference.stream(MESSAGES, max_new_tokens=12))
    assert [event.type for event in found] == [event.type for event in expected]
    assert found[:-1] == expected[:-1]
    assert same(found[-1].trace, expected[-1].trace)  # type: ignore[union-attr]


def test_the_event_loop_goes_on_while_the_model_writes(reference: Tracer) -> None:
    async def run() -> tuple[int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(tick())
        counting = Counting()
        await reference.atrace(MESSAGES, streamer=counting, max_new_tokens=20, min_new_tokens=20)
        task.cancel()
        return ticks, counting.tokens

    ticks, tokens = asyncio.run(run())
    assert tokens == 20
    assert ticks > tokens


@pytest.mark.parametrize("kind", ["atrace", "astream"])
def test_cancelling_the_task_stops_the_model_at_the_next_token(
    reference: Tracer, kind: str
) -> None:
    model = reference.adapter.model
    before = state(model)
    counting = Counting()

    async def read() -> None:
        if kind == "atrace":
            await reference.atrace(MESSAGES, streamer=counting, **LONG)
        else:
            async for _ in reference.astream(MESSAGES, streamer=counting, **LONG):
                pass

    async def run() -> int:
        task = asyncio.create_task(read())
        await until(lambda: counting.tokens >= 3)
        task.cancel()
        written = counting.tokens
        with pytest.raises(asyncio.CancelledError):
            await task
        # The model is as it was, and nothing runs, as soon as the task has ended.
        assert_unchanged(model, before)
        assert not any(t.name == "omnitrace-worker" for t in threading.enumerate())
        return counting.tokens - written

    assert asyncio.run(run()) <= 2
    assert no_thread_is_left()


def test_leaving_the_loop_and_closing_stops_the_model(reference: Tracer) -> None:
    async def run() -> list[Any]:
        async with reference.astream(MESSAGES, **LONG) as events:
            async for event in events:
                assert isinstance(event, TokenEvent)
                break
        return [event async for event in events]

    assert asyncio.run(run()) == []
    assert no_thread_is_left()


def test_a_dropped_stream_stops_by_itself(reference: Tracer) -> None:
    async def run() -> None:
        stream = reference.astream(MESSAGES, **LONG)
        await anext(stream)
        del stream
        gc.collect()
        await until(no_thread_is_left)

    asyncio.run(run())


def test_what_is_wrong_with_a_request_is_raised_where_it_is_awaited(reference: Tracer) -> None:
    async def first(**options: Any) -> None:
        async for _ in reference.astream(MESSAGES, **options):
            pass

    with pytest.raises(InputError, match="max_new_tokns"):
        asyncio.run(first(max_new_tokns=3))
    with pytest.raises(InputError, match="queue_size is -1"):
        asyncio.run(first(queue_size=-1))
    with pytest.raises(InputError, match="provisional"):
        asyncio.run(reference.atrace(MESSAGES, provisional=3))


def test_a_closed_stream_starts_nothing() -> None:
    async def run() -> None:
        stream = AsyncEventStream(lambda emit: emit(EndEvent(None)))  # type: ignore[arg-type]
        await stream.aclose()
        assert [event async for event in stream] == []

    asyncio.run(run())
    assert no_thread_is_left()
