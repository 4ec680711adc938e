"""How faithful attributions are on the reference world: text, images, audio and video together.

The reference model answers requests whose parts are sentences, cells of images and seconds of sound
and film, written as real files. What really happens to each sentence of its answers when such units
are taken away is measured once, and every method is judged by it. The same for text alone, with a
pretrained model and other packages' methods, is ``faithfulness_text.py``. ``--validation`` judges
other requests, for choices; what is chosen is then reported once, without.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from _faithfulness_run import judge_examples
from common import (
    BenchmarkError,
    Result,
    add_validation,
    fill_in,
    parser,
    read_arguments,
    run_benchmark,
)

if TYPE_CHECKING:
    from _examples import Example, Subject
    from _faithfulness_run import Found
    from _faithfulness_world import WorldRequest
    from _methods import Method

#: How units are taken away: an operator for all modalities, or one of its own for each.
OPERATORS: Final = ("attention", "mean", "input")
#: Fewer units allow of too few masks to fit and judge with different ones.
FEWEST_UNITS: Final = 10
_PATIENCE: Final = 20  # requests in a row that cannot be judged


def load(given: argparse.Namespace) -> Subject:
    """Load the model.

    Raises
    ------
    BenchmarkError
        If there is none.
    """
    from _examples import load_subject

    from omnitrace.errors import ModelError

    try:
        return load_subject(given.model, given)
    except ModelError as error:
        raise BenchmarkError(
            f"{error}\ntrain it: python -m omnitrace.reference.training.train"
        ) from error


def answered(
    subject: Subject, count: int, folder: Path, *, validation: bool, first: int = 0
) -> tuple[list[Example], int]:
    """Let the model answer requests; return those that can be judged, and how many cannot be.

    Parameters
    ----------
    subject:
        The model.
    count:
        How many are wanted.
    folder:
        Where the files of requests are written, if they are needed.
    validation:
        Whether to draw requests for choices.
    first:
        Number of the first request.

    Raises
    ------
    BenchmarkError
        If the model cannot answer them.
    """
    from _faithfulness_world import draw_requests
    from rich.progress import track

    requests = draw_requests(folder, validation=validation, first=first)
    found, passed_over = [], 0
    for _ in track(range(count), description="answering"):
        example, others = _next_example(subject, requests)
        found.append(example)
        passed_over += others
    return found, passed_over


def asked(subject: Subject, request: WorldRequest) -> Example | None:
    """Let the model answer a request; None if that cannot be judged.

    Raises
    ------
    BenchmarkError
        If the model cannot answer it.
    """
    from omnitrace.errors import OmnitraceError

    try:
        example = subject.ask(request)
    except OmnitraceError as error:  # such as a request that is too long for other weights
        raise BenchmarkError(f"{request.id}: {error}") from error
    return example if example.spans and len(example.trace.units) >= FEWEST_UNITS else None


def _next_example(subject: Subject, requests: Iterator[WorldRequest]) -> tuple[Example, int]:
    """Answer requests up to the first that can be judged; say how many before it cannot be."""
    for others, request in enumerate(itertools.islice(requests, _PATIENCE)):
        example = asked(subject, request)
        if example is not None:
            return example, others
    raise BenchmarkError(
        f"{_PATIENCE} requests in a row have no answer, or fewer than {FEWEST_UNITS} units: "
        "is the model trained?"
    )


def judge_all(
    subject: Subject,
    methods: Sequence[Method],
    examples: Sequence[Example],
    given: argparse.Namespace,
) -> Found:
    """Run every method on every request, measure, and judge."""
    from _faithfulness_world import evidence_groups
    from _scoring import Plan

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
    from _faithfulness_omni_report import result_of
    from _methods import captum_methods, signal_methods

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
    from _cache import CACHE

    made = parser("Measure the faithfulness of attributions on the reference world.")
    made.add_argument("--examples", type=int, help="requests; by default 60, quick 3")
    made.add_argument("--masks", type=int, help="for each form of LDS; by default 64, quick 8")
    made.add_argument("--oracle-examples", type=int, help="requests with an oracle; 20, quick 0")
    made.add_argument("--oracle-masks", type=int, default=256, help="masks that fit the oracle")
    made.add_argument("--new-tokens", type=int, default=128, help="longest answer (%(default)s)")
    made.add_argument("--ks", type=int, nargs="+", help="k of the drops; by default 1 3 5, quick 1")
    made.add_argument(
        "--operator",
        choices=OPERATORS,
        default=OPERATORS[0],
        help="how units are taken away (%(default)s); input: text dropped, images greyed, sound "
        "silenced, film frozen, which encodes the request anew for every mask",
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


if __name__ == "__main__":
    raise SystemExit(main())
