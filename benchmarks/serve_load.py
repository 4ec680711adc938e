"""How ``omnitrace serve`` bears many clients at once: requests lost, answers, memory, waiting.

The server runs in a process of its own, with the reference model. Every client asks a question of
its own about a fact of its own, streaming; its answer must be the one that it gets when it asks
alone. With a short queue the server turns clients away, who come again when it says so. The time to
the first token of the last in the queue is compared with what the queue said when it came.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from common.turns import MALLOC

if TYPE_CHECKING:
    import httpx

GROWTH_LIMIT: Final = 1.05
#: How far from what the queue said the last client's first token may come, as a share.
WAIT_LIMIT: Final = 0.25
SHORT_QUEUE: Final = 64
_TRIES: Final = 200
_COLUMNS: Final = (
    "clients",
    "queue",
    "round",
    "answered",
    "turned away",
    "wrong answers",
    "seconds",
    "answers a second",
    "first token, last in the queue: s",
    "the queue said: s",
    "memory MB",
)
_MEMORY: Final = re.compile(rb"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got: the text, how often it was turned away, and its wait.

    ``first`` is the time from the request that was taken to its first token, ``said`` how long it
    was to wait when it came, both in seconds; ``position`` how many requests were before it.
    """

    text: str
    refused: int
    position: int
    first: float
    said: float


def questions(count: int) -> list[tuple[str, str]]:
    """Return facts and questions about them, each another one."""
    from omnitrace.reference.words import OBJECTS, QUANTITIES

    found = [
        (f"The {name} weighs {number} grams.", f"What is the weight of the {name}?")
        for number in QUANTITIES
        for name in OBJECTS
    ]
    found += [
        (f"The {name} costs {number} coins.", f"What is the price of the {name}?")
        for number in QUANTITIES
        for name in OBJECTS
    ]
    if count > len(found):
        raise BenchmarkError(f"there are {len(found)} questions, not {count}")
    return found[:count]


async def ask(client: httpx.AsyncClient, number: int, question: tuple[str, str]) -> Answer:
    """Ask until the server takes the request; stream the answer."""
    fact, asked = question
    texts = ["The garden was quiet.", fact, "Rain fell on the roof.", asked]
    content = [{"type": "text", "text": text} for text in texts]
    body = {
        "model": "reference",
        "messages": [{"role": "user", "content": content}],
        "stream": True,
        "user": f"client {number}",
    }
    for refused in range(_TRIES):
        began = time.perf_counter()
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code == 429:
                await response.aread()
                # All that are turned away are told one time: they must not come back as one.
                later = float(response.headers["retry-after"]) * (1 + number % 7 / 7)
                await asyncio.sleep(later)
                continue
            if response.status_code != 200:
                raise BenchmarkError((await response.aread()).decode())
            text, first = "", 0.0
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    raise BenchmarkError(chunk["error"]["message"])
                piece = chunk["choices"][0]["delta"].get("content") or ""
                if piece and not text:
                    first = time.perf_counter() - began
                text += piece
            headers = response.headers
            position, said = int(headers["x-omnitrace-position"]), headers["x-omnitrace-wait"]
            return Answer(text, refused, position, first, float(said))
    raise BenchmarkError(f"client {number} was turned away {_TRIES} times")


@contextlib.contextmanager
def server(given: argparse.Namespace, queue: int) -> Iterator[str]:
    """Run a server in a process of its own; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "omnitrace", "serve", "--model", "reference"]
    command += ["--port", str(port), "--max-queue", str(queue), "--no-verify"]
    more = {**MALLOC, "OMP_NUM_THREADS": str(given.threads)}
    process = subprocess.Popen(command, env=os.environ | more, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        while "serving" not in said:
            said = process.stderr.readline()
            if not said and process.poll() is not None:
                raise BenchmarkError("the server does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


async def _memory(client: httpx.AsyncClient) -> float:
    found = _MEMORY.search((await client.get("/metrics")).content)
    return float(found[1]) / 1e6 if found else 0.0


async def _rounds(
    given: argparse.Namespace,
    queue: int,
    rounds: int,
    rows: list[list[str]],
    values: dict[str, Any],
) -> dict[str, float]:
    import httpx

    asked = questions(given.clients)
    with server(given, queue) as address:
        limits = httpx.Limits(max_connections=given.clients)
        timeout = httpx.Timeout(600)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=timeout) as client:
            while True:  # it says so a moment before it listens
                with contextlib.suppress(httpx.ConnectError):
                    await client.get("/healthz")
                    break
                await asyncio.sleep(0.05)
            alone = [await ask(client, number, each) for number, each in enumerate(asked)]
            memory: list[float] = []
            off: list[float] = []
            wrong = 0
            for round_ in range(rounds):
                began = time.perf_counter()
                answers = await asyncio.gather(
                    *(ask(client, number, each) for number, each in enumerate(asked))
                )
                seconds = time.perf_counter() - began
                crossed = sum(a.text != b.text for a, b in zip(answers, alone, strict=True))
                last = max(answers, key=lambda each: each.position)
                memory.append(await _memory(client))
                wrong += crossed
                off.append(abs(last.first / max(last.said, 1e-9) - 1))
                refused = sum(each.refused for each in answers)
                rows.append(
                    [
                        str(given.clients),
                        str(queue),
                        str(round_ + 1),
                        str(len(answers)),
                        str(refused),
                        str(crossed),
                        f"{seconds:.1f}",
                        f"{len(answers) / seconds:.2f}",
                        f"{last.first:.1f}",
                        f"{last.said:.1f}",
                        f"{memory[-1]:.0f}",
                    ]
                )
                print(" ".join(rows[-1]), file=sys.stderr)
                values[f"queue {queue} round {round_ + 1}"] = {
                    "seconds": seconds,
                    "refused": refused,
                    "median first token": statistics.median(each.first for each in answers),
                    "last": {"first": last.first, "said": last.said, "position": last.position},
                    "memory MB": memory[-1],
                }
    return {"wrong": wrong, "off": statistics.median(off), "growth": memory[-1] / memory[0]}


def measure(given: argparse.Namespace) -> Result:
    """Ask with a queue that holds all clients, then with one that does not."""
    rows: list[list[str]] = []
    sections: list[int] = []
    values: dict[str, Any] = {}
    bars: list[Bar] = []
    short = min(SHORT_QUEUE, given.clients // 3)
    for queue, rounds in ((given.clients, given.rounds), (short, 1)):
        found = asyncio.run(_rounds(given, queue, rounds, rows, values))
        sections.append(len(rows) - 1)
        what = f"queue of {queue}"
        bars.append(Bar(f"{what}: answers that are another's or none", found["wrong"], 0))
        if rounds > 1:
            bars.append(
                Bar(f"{what}: memory, last round over first", found["growth"], GROWTH_LIMIT)
            )
            said = f"{what}: wait of the last, off by (median of the rounds)"
            bars.append(Bar(said, found["off"], WAIT_LIMIT))
    return Result(
        name="serve_load",
        title="Many clients of one server",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=[
            "Reference model, greedy, streaming, attributions on, verification off; clients and "
            "server share the machine.",
            "A client that is turned away (429) comes again after the time that Retry-After says, "
            "and up to 6/7 more.",
        ],
        bars=bars,
        settings={name: getattr(given, name) for name in ("clients", "rounds", "threads")},
        values=values,
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments."""
    made = parser("How the server bears many clients at once.")
    made.add_argument("--clients", type=int)
    made.add_argument("--rounds", type=int)
    made.add_argument("--threads", type=int, default=1, help="of torch, in the server")
    given = made.parse_args(arguments)
    return fill_in(
        given, {"clients": 24 if given.quick else 200, "rounds": 2 if given.quick else 3}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
