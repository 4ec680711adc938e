"""Run malformed inputs and print what became of them, by category; exit with 1 at any problem."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

from tests.fuzz.case import CATEGORIES, Case, Category, drawn
from tests.fuzz.corpus import SOURCES
from tests.fuzz.good import make_good
from tests.fuzz.runner import Outcome, load_everything, run_cases

_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
COLUMNS = (
    "traceback",
    "hung",
    "over 2 GB",
    "wrong exit code",
    "passed without a word",
    "refused, though good",
    "refused without a word",
    "loaded, then failed",
    "died",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="other inputs are drawn (1)")
    parser.add_argument("--number", type=int, default=2400, help="how many inputs (2400)")
    parser.add_argument("--only", default="", help=f"categories: {','.join(CATEGORIES)}")
    parser.add_argument("--match", default="", help="only inputs whose name holds this")
    parser.add_argument("--seconds", type=float, default=30.0, help="after which one hangs (30)")
    parser.add_argument(
        "--slow", type=float, default=0, help="also print those that compute longer"
    )
    chosen = parser.parse_args()
    names: list[Category] = [
        name for name in CATEGORIES if not chosen.only or name in chosen.only.split(",")
    ]
    cases = list(drawn({name: SOURCES[name] for name in names}, chosen.seed, chosen.number))
    cases = [case for case in cases if chosen.match in case.id]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="omnitrace-fuzz-") as root:
        folder = Path(root)
        good = make_good(folder / "good")
        load_everything()
        print(f"seed {chosen.seed}: {len(cases)} inputs", flush=True)
        outcomes = []
        for outcome in run_cases(cases, good, folder, seconds=chosen.seconds):
            outcomes.append(outcome)
            if outcome.problem or 0 < chosen.slow < outcome.computed:
                _print(outcome)
    _print_counts(cases, outcomes)
    took, computed = time.monotonic() - began, sum(map(_processor_seconds, _WHO))
    print(f"{len(outcomes)} inputs in {took:.0f} s ({computed:.0f} s of one processor)")
    return int(any(outcome.problem for outcome in outcomes))


def _processor_seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _print(outcome: Outcome) -> None:
    times = f"{outcome.seconds:.1f} s, computed {outcome.computed:.1f} s"
    figures = f"exit {outcome.code}, {times}, {outcome.peak / 2**20:.0f} MB"
    print(f"{outcome.problem or 'slow'}: {outcome.case.id} ({figures})", flush=True)
    lines = [line for line in outcome.error.strip().splitlines() if line.strip()]
    for line in lines[-6:] if "Traceback" in outcome.error else lines[-2:]:
        print(f"    {line[:200]}", flush=True)


def _print_counts(cases: Iterable[Case], outcomes: Iterable[Outcome]) -> None:
    table: dict[str, collections.Counter[str]] = {}
    for outcome in outcomes:
        ended = {0: "accepted", 2: "refused"}.get(outcome.code, "")
        for name in (outcome.case.category, "all"):
            counts = table.setdefault(name, collections.Counter())
            counts.update(["inputs", *([ended] if ended else [])])
            counts.update([outcome.problem] if outcome.problem else [])
    names = ["inputs", "accepted", "refused", *COLUMNS]
    print("\n" + "category".ljust(12) + "  ".join(names))
    for category in (*CATEGORIES, "all"):
        if category in table:
            row = (str(table[category][name]).rjust(len(name)) for name in names)
            print(category.ljust(12) + "  ".join(row))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
