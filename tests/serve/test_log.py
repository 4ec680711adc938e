"""Logs of events: bounded, followed from any event on, and never waited for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

from omnitrace.serve.log import EventLog


async def followed(log: EventLog, after: int = 0) -> list[tuple[int, str]]:
    async with aclosing(log.follow(after)) as batches:
        return [(each.number, each.type) async for batch in batches for each in batch]


def test_passing_events_are_kept_until_the_next_of_their_kind() -> None:
    log = EventLog()
    for position in (2, 1, 0):
        log.append("queued", {"position": position}, passing=True)
    assert [(each.number, each.type) for each in log.after(0)] == [(3, "queued")]
    log.append("started", {}, ends=["queued"])
    log.append("provisional", {}, passing=True)
    log.append("token", {})
    log.append("provisional", {}, passing=True)
    log.append("span", {}, ends=["provisional"])
    log.append("end", {}, last=True)
    assert [each.type for each in log.after(0)] == ["started", "token", "span", "end"]
    assert asyncio.run(followed(log, 6)) == [(8, "span"), (9, "end")]
    log.shorten()
    assert [each.type for each in log.after(0)] == ["end"]


def test_several_readers_see_what_a_thread_writes() -> None:
    log = EventLog()
    count = 2000

    def write() -> None:
        for number in range(count):
            log.append("token", {"index": number})
        log.append("end", {}, last=True)

    async def read() -> list[list[tuple[int, str]]]:
        thread = threading.Thread(target=write)
        readers = [asyncio.create_task(followed(log, after)) for after in (0, 0, 1000)]
        await asyncio.sleep(0)
        thread.start()
        found = await asyncio.gather(*readers)
        thread.join()
        return found

    first, second, rest = asyncio.run(read())
    assert first == second
    assert [number for number, _ in first] == list(range(1, count + 2))
    assert rest == first[1000:]
    assert log.watchers == 0


def test_an_event_is_one_message_whatever_it_says() -> None:
    log = EventLog()
    log.append("token", {"text": "a\n\nevent: end\r\ndata: {}\u2028ü"})
    (entry,) = log.after(0)
    lines = entry.encoded.decode("ascii").split("\n")
    assert [line.partition(":")[0] for line in lines] == ["id", "event", "data", "", ""]
    assert log.size > len(entry.encoded)
