"""Print evaluations and write their files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from omnitrace._utils.file_names import safe_name
from omnitrace._utils.files import write_text
from omnitrace.cli.console import make_console, plain, print_notes, print_table
from omnitrace.cli.exit_codes import say, say_problems
from omnitrace.evaluation.evaluation import Evaluation
from omnitrace.evaluation.report.compare import compare, table_of_differences
from omnitrace.evaluation.report.export import notes_of, table_of, to_csv, to_document
from omnitrace.evaluation.report.html import render_page
from omnitrace.evaluation.report.results_file import file_of
from omnitrace.evaluation.run import EvaluationRun

__all__ = ["Outputs", "print_run"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are written for each evaluation, where they are named."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None

    def of(self, signal: str) -> Outputs:
        """Return the files of one of several signals: its name stands before their ending."""
        return Outputs(
            *(
                path and path.with_name(f"{path.stem}.{safe_name(signal)}{path.suffix}")
                for path in (self.json, self.csv, self.html)
            )
        )


def print_run(run: EvaluationRun, outputs: Outputs, *, title: str, seed: int = 0) -> None:
    """Print the tables of a run, write its files, say what is missing.

    Parameters
    ----------
    run:
        What was found.
    outputs:
        The files to write.
    title:
        Of the page: the name of the label file.
    seed:
        Of the intervals of differences between signals.
    """
    first = run.evaluations[0]
    say_problems(first.counts.invalid)
    several = len(run.evaluations) > 1
    for number, found in enumerate(run.evaluations):
        signal = found.signals[0]
        if several:
            make_console().print(Text(plain(signal), style="bold underline"))
        _print(found, outputs.of(signal) if several else outputs, title)
        if several and number and not run.failures:
            _print_differences(first, found, seed)
    if run.unlabelled:
        say(f"{len(run.unlabelled)} requests have no label: {', '.join(run.unlabelled)}")


def _print(found: Evaluation, outputs: Outputs, title: str) -> None:
    print_table(make_console(), table_of(found))
    print_notes(make_console(), notes_of(found))
    if outputs.json is not None:
        document = json.dumps(to_document(found), ensure_ascii=False, allow_nan=False, indent=1)
        say(f"wrote {write_text(outputs.json, document)}")
    if outputs.csv is not None:
        say(f"wrote {write_text(outputs.csv, to_csv(found))}")
    if outputs.html is not None:
        say(f"wrote {write_text(outputs.html, render_page(found, title=title))}")


def _print_differences(first: Evaluation, second: Evaluation, seed: int) -> None:
    names = [found.signals[0] for found in (first, second)]
    files = [file_of(found, name) for found, name in zip((first, second), names, strict=True)]
    title = f"A: {names[0]}, B: {names[1]}"
    make_console().print(Text(plain(title), style="bold underline"))
    print_table(make_console(), table_of_differences(compare(*files, seed=seed)))
