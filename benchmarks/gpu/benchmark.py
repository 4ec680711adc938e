"""What tracing costs at real size on a GPU: time and memory of every way to trace.

Two models with the real configurations of Qwen2.5-Omni-7B (its Thinker) and Qwen3-VL-8B, and random
weights, read prompts of 1,000 to 32,000 tokens with pictures and a minute of audio, and write a
response of several statements: untraced, traced, streamed, with exact gradients, with verified
supports, replayed, in a batch, and with eager attention that returns all weights. Each model has a
process of its own, which is ended when its time is up; each case is written to the JSON file as
soon as it is measured, so that what was measured is kept whatever happens. Random weights cost what
trained ones cost; what they write means nothing, so nothing here says how good supports are.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from common.report import BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from gpu.table import columns, rows, wait_notes

__all__ = ["main", "measure", "parse"]

_SCRIPT: Final = Path(__file__).resolve().parents[1] / "gpu.py"
_MODELS: Final = ("qwen2.5-omni-7b", "qwen3-vl-8b")
_MODES: Final = (
    *("untraced", "traced", "traced, values", "streamed", "grad-sam", "verified"),
    *("replayed", "batched", "eager", "waits"),
)
#: Seconds of the whole command. Eight minutes less what its start and its last lines take.
SECONDS: Final = 460.0
_LEAST: Final = 5.0  # seconds with which it makes sense to start a model


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser("What tracing costs at real size on a GPU.")
    made.add_argument("--tiny", action="store_true", help="tiny models on the CPU: shows it works")
    made.add_argument("--models", nargs="+", choices=_MODELS, default=list(_MODELS))
    made.add_argument("--modes", nargs="+", choices=_MODES, default=list(_MODES))
    made.add_argument("--lengths", type=int, nargs="+", help="prompt tokens, ascending")
    made.add_argument("--new-tokens", type=int, help="tokens of a response")
    made.add_argument("--seconds", type=float, default=SECONDS, help="time of the whole command")
    made.add_argument("--worker", choices=_MODELS, help=argparse.SUPPRESS)
    made.add_argument("--until", type=float, help=argparse.SUPPRESS)  # of the monotonic clock
    given = made.parse_args(arguments)
    small = given.tiny or given.quick
    default = [400] if given.tiny else [1000, 4000] if given.quick else [1000, 4000, 16000, 32000]
    fill_in(given, {"lengths": default, "new_tokens": 24 if small else 64})
    if given.lengths != sorted(given.lengths):
        made.error("--lengths must ascend")
    return given


def measure(given: argparse.Namespace) -> Result:
    """Measure all models, one after the other."""
    if not given.tiny:
        _check_device()
    ends = time.monotonic() + given.seconds
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in given.models}
    for place, name in enumerate(given.models):
        left = ends - time.monotonic()
        share = left / (len(given.models) - place)
        if left < _LEAST:
            found[name].append({"left_out": "no time left"})
            continue
        until = time.monotonic() + share
        for case in findings(_command(given, name, until), until):
            found[name].append(case)
            _keep(given, found)
    return _result(given, found)


def findings(command: Sequence[str], until: float) -> Iterator[dict[str, Any]]:
    """Yield what a process prints, a JSON object a line, and end it when its time is up.

    Parameters
    ----------
    command:
        What is started.
    until:
        When its time is up, by the monotonic clock.
    """
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (line := lines.get(timeout=max(0.0, until - time.monotonic()))) is not None:
            if line.startswith("{"):
                yield json.loads(line)
        code = process.wait(timeout=_LEAST)
    except (queue.Empty, subprocess.TimeoutExpired):
        spent = time.monotonic() - started
        yield {"left_out": f"ended after {spent:.0f} s; what is missing was not measured"}
        return
    finally:
        process.kill()
        process.wait()
    if code != 0:
        yield {"left_out": f"the process ended with code {code}"}


def _command(given: argparse.Namespace, name: str, until: float) -> list[str]:
    return [
        *(sys.executable, str(_SCRIPT), "--worker", name, "--until", str(until)),
        *("--lengths", *map(str, given.lengths), "--new-tokens", str(given.new_tokens)),
        *("--modes", *given.modes, *(["--tiny"] if given.tiny else [])),
    ]


def _check_device() -> None:
    import torch

    if not torch.cuda.is_available():
        raise BenchmarkError(
            "this benchmark needs a CUDA device with about 24 GB for the weights of each model; "
            "--tiny runs tiny models on the CPU, to show that it works"
        )


def _device(given: argparse.Namespace) -> str:
    if given.tiny:
        return "the CPU (tiny models)"
    import torch

    return str(torch.cuda.get_device_name(0))


def _keep(given: argparse.Namespace, found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Write what there is so far, whole or not at all."""
    if given.json is None:
        return
    given.json.parent.mkdir(parents=True, exist_ok=True)
    draft = given.json.with_suffix(".draft")
    text = json.dumps(_result(given, found).document(), indent=1, ensure_ascii=False)
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(given.json)


def _result(given: argparse.Namespace, found: Mapping[str, list[dict[str, Any]]]) -> Result:
    lines, sections = rows(found)
    return Result(
        name="gpu",
        title=f"Real configurations with random weights on {_device(given)}",
        quick=given.quick or given.tiny,
        table=Table(columns(), lines, sections),
        notes=[
            f"{given.new_tokens} new tokens, the same in every mode but 'batched', which writes "
            "the likeliest letters; each case once, after a warm-up; seconds are until the caller "
            "has the result, a request; '÷' is to untraced of the same prompt",
            "peak: of the memory of the device, beyond the weights",
            "traced: attention-mean; traced, values: value-attention; verified: value-attention, "
            "and supports verified by ablation; batched: four requests at once; eager: "
            "generate(output_attentions=True)",
            *wait_notes(found),
        ],
        settings={
            "lengths": given.lengths,
            "new_tokens": given.new_tokens,
            "seconds": given.seconds,
            "tiny": given.tiny,
            "device": _device(given),
        },
        values={name: list(cases) for name, cases in found.items()},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, or be the process of one model."""
    given = parse(arguments)
    if given.worker:
        from gpu.worker import print_report, run_model

        run_model(given, print_report)
        return 0
    return run_benchmark(measure, given)
