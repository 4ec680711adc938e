"""``omnitrace compare``: what one evaluation gained or lost against another one, and a gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.text import Text

from omnitrace.cli.console import make_console, plain, print_table
from omnitrace.cli.exit_codes import say
from omnitrace.evaluation.report.compare import compare, judge, parse_rule, table_of_differences
from omnitrace.evaluation.report.results_file import EvaluationFile, read_evaluation

__all__ = ["FAILED", "compare_files"]

FAILED: Final = 1


def compare_files(first: Path, second: Path, rules: Sequence[str], *, seed: int = 0) -> int:
    """Print the paired differences of two evaluations and what the rules say of them.

    Returns
    -------
    int
        1 if a rule holds, else 0.
    """
    parsed = [parse_rule(text) for text in rules]
    before, after = read_evaluation(first), read_evaluation(second)
    differences = compare(before, after, seed=seed)
    judged = [(rule, *judge(rule, differences)) for rule in parsed]
    print_table(make_console(), table_of_differences(differences))
    for name, file in (("A", before), ("B", after)):
        _note(name, file)
    failed = [(rule, found) for rule, holds, found in judged if holds]
    for rule, found in failed:
        say(
            f"failed: {rule.text}: {rule.metric} of {found.group} changed by "
            f"{found.estimate.text(4)}"
        )
    if parsed and not failed:
        say(f"none of {len(parsed)} rules holds" if len(parsed) > 1 else "the rule does not hold")
    return FAILED if failed else 0


def _note(name: str, file: EvaluationFile) -> None:
    signals = ", ".join(filter(None, file.signals)) or "unknown"
    said = sum(row.said and row.level == "span" and row.method == "trace" for row in file.rows)
    line = f"{name}: {file.path}, {len(file.labels)} examples, {said} spans said; signal: {signals}"
    make_console().print(Text(plain(line), style="dim"), soft_wrap=True)
