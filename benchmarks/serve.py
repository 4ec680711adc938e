"""What the server costs beside the Python stream, while a model writes.

The same request is streamed in Python and asked of ``omnitrace serve`` on loopback, in turns, in
one process with one model: a real uvicorn delivers every event to a client in a process of its
own. Decoding is timed by the model's own steps, from the end of the first to the end of the last,
so that reading the request and the prompt are not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from common.turns import rotated

OVERHEAD_LIMIT: Final = 1.05
ALTERNATIONS: Final = 20
PROMPT_TOKENS: Final = 400
MODELS: Final = ("smollm2", "reference")
_KEY: Final = "the-client-of-a-benchmark"
_WAYS: Final = ("stream", "serve")
_COLUMNS: Final = (
    "model",
    "runs",
    "tokens",
    "Python stream s",
    "server s",
    "server ÷ Python stream [95 %]",
    "processor time ÷",
    "last event after the last step: ms",
    "events",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One response: seconds of decoding and of this process's processors, and the last event.

    ``late`` is how long after the last step of the model the last event was read, in seconds:
    selecting the last supports is part of it.
    """

    decode: float
    processor: float
    late: float
    events: int
    text: str


class Steps:
    """The times of the steps of a model's decoder, and what processor time they took."""

    def __init__(self, decoder: Any) -> None:
        self._marks: list[tuple[float, float]] = []
        decoder.register_forward_hook(lambda *_: self._marks.append((time.time(), _used())))

    def forget(self) -> None:
        """Begin again."""
        self._marks.clear()

    @property
    def decode(self) -> float:
        """Seconds from the end of the first step to that of the last."""
        return self._marks[-1][0] - self._marks[0][0]

    @property
    def processor(self) -> float:
        """Seconds of processor time between them, of all threads of this process."""
        return self._marks[-1][1] - self._marks[0][1]

    @property
    def last(self) -> float:
        """When the last step ended."""
        return self._marks[-1][0]


def _used() -> float:
    return time.process_time()


@contextlib.contextmanager
def serving(tracer: Any) -> Iterator[str]:
    """Serve a model in a thread of this process; yield the address."""
    from omnitrace.serve.server import bound, make_server

    with bound("127.0.0.1", 0) as listening:
        server = make_server(tracer)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def reader() -> Iterator[subprocess.Popen[str]]:
    """Run the client."""
    script = Path(__file__).parent / "serving" / "reader.py"
    command = [sys.executable, str(script), _KEY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def streamed(tracer: Any, asked: dict[str, Any], steps: Steps) -> Run:
    """Stream the response in Python, in blocks like those of the page."""
    steps.forget()
    count, text = 0, ""
    options = {"block": 4, "provisional": 4, "max_new_tokens": asked["max_new_tokens"]}
    for event in tracer.stream(asked["messages"], **options):
        count += 1
        if event.type == "end":
            text = event.trace.text
    return Run(steps.decode, steps.processor, time.time() - steps.last, count, text)


def served(address: str, asked: dict[str, Any], steps: Steps, process: Any) -> Run:
    """Ask the server, and have the client read every event."""
    import httpx

    steps.forget()
    headers = {"X-Omnitrace-Client": _KEY}
    with httpx.Client(base_url=address, headers=headers) as client:
        answer = client.post("/api/runs", json=asked)
        run = answer.raise_for_status().json()["run"]
        process.stdin.write(f"{address}/api/runs/{run}/events\n")
        process.stdin.flush()
        seen = json.loads(process.stdout.readline())
        view = client.get(f"/api/runs/{run}").json()["view"]
        client.delete(f"/api/runs/{run}")
    text = "".join(span["before"] + span["text"] for span in view["spans"]) + view["rest"]
    return Run(steps.decode, steps.processor, seen["last"] - steps.last, seen["events"], text)


def compare(name: str, given: argparse.Namespace) -> dict[str, list[Run]]:
    """Stream and serve in turns.

    Raises
    ------
    BenchmarkError
        If the server's response is another one.
    """
    from rich.progress import track

    from common.decoding import Decoder, model_file
    from omnitrace import Tracer

    path = str(model_file()) if name == "smollm2" else name
    tracer = Tracer.from_pretrained(path, signal="attention-mean")
    if name == "smollm2":
        messages = Decoder(given.prompt_tokens, tracer).messages
    else:
        texts = ("The lamp weighs 5 grams.", "Rain fell.", "What is the weight of the lamp?")
        messages = [{"role": "user", "content": [{"type": "text", "text": t} for t in texts]}]
    tracer.adapter.model.generation_config.min_new_tokens = given.new_tokens
    steps = Steps(tracer.adapter.decoder)
    asked = {"messages": messages, "max_new_tokens": given.new_tokens}
    runs: dict[str, list[Run]] = {way: [] for way in _WAYS}
    with serving(tracer) as address, reader() as process:
        for number in track(range(-1, given.alternations), description=name):
            for way in rotated(_WAYS, number):
                if way == "stream":
                    run = streamed(tracer, asked, steps)
                else:
                    run = served(address, asked, steps, process)
                if number >= 0:  # the first of each fills caches
                    runs[way].append(run)
            if len({run.text for found in runs.values() for run in found}) > 1:
                raise BenchmarkError("the server's response is not that of the Python stream")
    return runs


def measure(given: argparse.Namespace) -> Result:
    """Compare for every model."""
    import torch

    from common.medians import median_interval

    torch.set_num_threads(given.threads)
    rows: list[list[str]] = []
    bars: list[Bar] = []
    values: dict[str, Any] = {}
    for name in given.models:
        runs = compare(name, given)
        pairs = list(zip(runs["serve"], runs["stream"], strict=True))
        ratio = median_interval([served.decode / alone.decode for served, alone in pairs])
        used = statistics.median(served.processor / alone.processor for served, alone in pairs)
        late = statistics.median(run.late for run in runs["serve"])
        rows.append(
            [
                name,
                str(len(pairs)),
                str(given.new_tokens),
                f"{statistics.median(run.decode for run in runs['stream']):.3f}",
                f"{statistics.median(run.decode for run in runs['serve']):.3f}",
                ratio.text(3),
                f"{used:.3f}",
                f"{late * 1e3:.0f}",
                str(runs["serve"][-1].events),
            ]
        )
        bars.append(Bar(f"{name}: decoding, server ÷ Python stream", ratio.value, OVERHEAD_LIMIT))
        values[name] = {
            way: [asdict(run) | {"text": None} for run in found] for way, found in runs.items()
        }
    return Result(
        name="serve",
        title="The server beside the Python stream",
        quick=given.quick,
        table=Table(_COLUMNS, rows),
        notes=[
            f"Greedy, {given.new_tokens} new tokens, {given.threads} thread(s); blocks of 4 tokens "
            "and provisional supports every 4 tokens both ways, no verification; both ways take "
            "turns in one process, and wrote the same text",
            "Decoding: from the end of the model's first step to that of its last; the ratio is "
            "the median of the turns' ratios, with the order statistics that hold it at 95 %",
            "Processor time: of the process that decodes and serves, in the same interval; the "
            "client is a process of its own",
            "Last event: until the client has read it; selecting the last supports is part of it",
        ],
        bars=bars,
        settings={
            name: getattr(given, name)
            for name in ("models", "alternations", "new_tokens", "prompt_tokens", "threads")
        },
        values=values,
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Ask a server, beside the Python stream.")
    made.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    made.add_argument("--alternations", type=int, help=f"by default {ALTERNATIONS}, quick 3")
    made.add_argument("--new-tokens", type=int, help="by default 128, quick 32")
    made.add_argument("--prompt-tokens", type=int, default=PROMPT_TOKENS, help="of SmolLM2")
    made.add_argument("--threads", type=int, default=1, help="of torch")
    given = made.parse_args(arguments)
    return fill_in(
        given,
        {
            "alternations": 3 if given.quick else ALTERNATIONS,
            "new_tokens": 32 if given.quick else 128,
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
