"""How faithful attributions are on the reference world: text, images, audio and video together.

The reference model answers requests whose parts are sentences, cells of images and seconds of audio
and video, written as real files. What really happens to each sentence of its responses when such
units are ablated is measured once, and every method is judged by it. The same for text alone, with
a pretrained model and other packages' methods, is ``faithfulness_text.py``. ``--validation`` judges
other requests, for choices; what is chosen is then reported once, without.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.report import (
    BenchmarkError,
    Result,
    add_validation,
    fill_in,
    parser,
    read_arguments,
    run_benchmark,
)
from faithfulness.run import judge_examples

if TYPE_CHECKING:
    from common.examples import Example, Subject
    from common.methods import Method
    from faithfulness.run import Found

#: How units are ablated: an operator for all modalities, or one of its own for each.
OPERATORS: Final = ("attention", "mean", "input")


def load(given: argparse.Namespace) -> Subject:
    """Load the model.

    Raises
    ------
    BenchmarkError
        If there is none.
    """
    from common.examples import load_subject
    from omnitrace.errors import ModelError

    try:
        return load_subject(given.model, given)
    except ModelError as error:
        raise BenchmarkError(
            f"{error}\ntrain it: python -m omnitrace.reference.training.train"
        ) from error


def judge_all(
    subject: Subject,
    methods: Sequence[Method],
    examples: Sequence[Example],
    given: argparse.Namespace,
) -> Found:
    """Run every method on every request, measure, and judge."""
    from common.scoring import Plan
    from common.world import evidence_groups

    def plan(number: int) -> Plan:
        oracle = given.oracle_masks if number < given.oracle_examples else 0
        ks = tuple(given.ks)
        return Plan(given.masks, given.masks, oracle, ks, dropped=False, operator=given.operator)

    return judge_examples(
        subject, methods, examples, plan, grouping=evidence_groups, what="requests"
    )


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison.

    Raises
    ------
    BenchmarkError
        If there is no model, it cannot answer, or more masks are wanted than there are.
    """
    from common.methods import captum_methods, signal_methods
    from common.world import FEWEST_UNITS, answered
    from faithfulness.omni_report import result_of
    from omnitrace.errors import InputError

    subject = load(given)
    methods = [*signal_methods(), *captum_methods()]
    with tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-") as folder:
        examples, passed_over = answered(
            subject, given.examples, Path(folder), validation=given.validation
        )
        try:
            found = judge_all(subject, methods, examples, given)
        except InputError as error:
            raise BenchmarkError(str(error)) from error
    return result_of(found, given, passed_over, FEWEST_UNITS)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    from common.cache import CACHE

    made = parser("Measure the faithfulness of attributions on the reference world.")
    made.add_argument("--examples", type=int, help="requests; by default 60, quick 3")
    made.add_argument("--masks", type=int, help="for each form of LDS; by default 64, quick 8")
    made.add_argument("--oracle-examples", type=int, help="requests with an oracle; 20, quick 0")
    made.add_argument("--oracle-masks", type=int, default=256, help="masks that fit the oracle")
    made.add_argument("--new-tokens", type=int, default=128, help="longest response (%(default)s)")
    made.add_argument("--ks", type=int, nargs="+", help="k of the drops; by default 1 3 5, quick 1")
    made.add_argument(
        "--operator",
        choices=OPERATORS,
        default=OPERATORS[0],
        help="how units are ablated (%(default)s); input: text dropped, images greyed, audio "
        "silenced, video frozen, which encodes the request again for every mask",
    )
    made.add_argument("--model", default="reference", help="a model folder, for other weights")
    add_validation(made, "requests")
    made.add_argument("--cache", type=Path, default=CACHE / "faithfulness-omni", metavar="FOLDER")
    made.add_argument("--threads", type=int, default=2)
    given = read_arguments(made, arguments)
    return fill_in(
        given,
        {
            "examples": 3 if given.quick else 60,
            "masks": 8 if given.quick else 64,
            "oracle_examples": 0 if given.quick else 20,
            "ks": [1] if given.quick else [1, 3, 5],
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))
