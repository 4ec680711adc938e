"""Many clients at once: nothing lost, nobody gets another's answer, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from omnitrace import Tracer
from omnitrace.reference.words import OBJECTS, QUANTITIES
from omnitrace.serve import ServeOptions
from tests.serve.held import held
from tests.serve.live import Live, live

CLIENTS = 20


@pytest.fixture(scope="module")
def server(reference: Tracer) -> Iterator[Live]:
    with live(reference, ServeOptions(queue_length=8, requests_per_client=1)) as running:
        yield running


def question(number: int) -> list[dict[str, Any]]:
    """Return the messages of a client: a fact, and what is asked about it."""
    name, value = OBJECTS[number], QUANTITIES[number % len(QUANTITIES)]
    texts = [f"The {name} weighs {value} grams.", f"What is the weight of the {name}?"]
    return [{"role": "user", "content": [{"type": "text", "text": each} for each in texts]}]


async def ask(
    client: httpx.AsyncClient, number: int, full: asyncio.Event
) -> tuple[str, int, float, float]:
    """Ask a question, again and again while the server is full, which sets ``full``."""
    body: dict[str, Any] = {
        "model": "reference",
        "messages": question(number),
        "user": f"client {number}",
        "attribution": False,
    }
    for refused in range(200):
        answer = await client.post("/v1/chat/completions", json=body)
        if answer.status_code != 429:
            answer.raise_for_status()
            text = answer.json()["choices"][0]["message"]["content"]
            headers = answer.headers
            return (
                text,
                refused,
                float(headers["x-omnitrace-wait"]),
                float(headers["x-omnitrace-position"]),
            )
        assert float(answer.headers["retry-after"]) >= 1
        full.set()
        await asyncio.sleep(0.1)
    raise AssertionError("the server never took the request")


def test_each_of_many_clients_gets_its_own_answer(server: Live, reference: Tracer) -> None:
    plain = reference.with_options(verify=False, signal="attention-mean")
    alone = [plain.trace(question(number)).text.strip() for number in range(CLIENTS)]
    assert len(set(alone)) == CLIENTS

    async def all_at_once() -> list[tuple[str, int, float, float]]:
        full = asyncio.Event()
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            with held(server.state):  # nobody is answered until somebody is turned away
                asked = [asyncio.create_task(ask(client, i, full)) for i in range(CLIENTS - 1)]
                await asyncio.wait_for(full.wait(), 60)
            answers = await asyncio.gather(*asked)
            return [*answers, await ask(client, CLIENTS - 1, full)]

    answers = asyncio.run(all_at_once())
    assert [text.strip() for text, *_ in answers] == alone
    assert any(refused for _, refused, _, _ in answers)  # more came than may wait
    waits = {position: wait for _, _, wait, position in answers}
    assert waits[0] == 0
    assert waits[max(waits)] > 0
    assert server.state.queue.jobs() == []
    assert not server.state._held
    assert server.state.jobs.sizes == (0, 0)
