"""``omnitrace compare``: what one evaluation gained or lost against another one, and a gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omnitrace.cli.console import make_console, print_notes, print_table
from omnitrace.cli.exit_codes import guarded, say

if TYPE_CHECKING:
    from omnitrace.evaluation.report.results_file import EvaluationFile

__all__ = ["compare"]

_FAILED: Final = 1


@guarded
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A.json", help="What 'evaluate --json' wrote: before.")
    ],
    second: Annotated[
        Path, typer.Argument(metavar="B.json", help="The same labels and requests: after.")
    ],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="METRIC[.low|.high][@GROUP] OP NUMBER: exit with 1 if it holds for the difference "
            "B - A, or for that end of its interval. Repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
) -> None:
    """Compare two evaluations of the same labels: paired differences B - A with intervals.

    GROUP is a name of the first column; without one, all spans. "f1 < -0.02" fails if F1 fell by
    more than 0.02; "f1.high < 0" fails only if the whole interval is below 0:

        omnitrace compare main.json branch.json --fail-if "f1.high@modality: image < 0"
    """
    from omnitrace.evaluation.report import compare as library
    from omnitrace.evaluation.report.results_file import read_evaluation

    rules = [library.parse_rule(text) for text in fail_if or ()]
    before, after = read_evaluation(first), read_evaluation(second)
    differences = library.compare(before, after, seed=seed)
    checked = [(rule, *library.check_rule(rule, differences)) for rule in rules]
    print_table(make_console(), library.table_of_differences(differences))
    print_notes(make_console(), _facts(before, after))
    failed = [(rule, found) for rule, holds, found in checked if holds]
    for rule, found in failed:
        say(
            f"failed: {rule.text}: {rule.metric} of {found.group} changed by "
            f"{found.estimate.text(4)}"
        )
    if rules and not failed:
        say(f"none of {len(rules)} rules holds" if len(rules) > 1 else "the rule does not hold")
    raise typer.Exit(_FAILED if failed else 0)


def _facts(before: EvaluationFile, after: EvaluationFile) -> Iterator[str]:
    for name, file in (("A", before), ("B", after)):
        signals = ", ".join(filter(None, file.signals)) or "unknown"
        examples = f"{len(file.labels)} examples"
        said = sum(row.said and row.level == "span" and row.method == "trace" for row in file.rows)
        yield f"{name}: {file.path}, {examples}, {said} spans said; signal: {signals}"
