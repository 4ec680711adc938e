"""What commands that learn from statements with known evidence share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from omnitrace.cli.console import StatusLine
from omnitrace.cli.exit_codes import say_mistake

if TYPE_CHECKING:
    from omnitrace.evaluation.labels.io import LabelScan

__all__ = ["Documents", "Failures", "PerRequest", "Seed", "sound_labels"]

Documents: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="REQUESTS|RUN...",
        help="Request files (.json, .jsonl) with two documents or more each, or traces (with "
        "their media) and folders of them.",
    ),
]
PerRequest: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Without labels: sentences copied from each request.")
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Of the choice of sentences.")]


def sound_labels(path: Path | None) -> LabelScan | None:
    """Scan a label file before a model is loaded; raises LabelError if it has mistakes."""
    from omnitrace.evaluation.labels.io import LabelError, scan_labels

    scan = None if path is None else scan_labels(path)
    if scan is not None and scan.problems:
        raise LabelError(scan.problems)
    return scan


class Failures:
    """Says what fails, as it does, and counts it."""

    def __init__(self, status: StatusLine) -> None:
        self.count = 0
        self._status = status

    def __call__(self, failure: object) -> None:
        """Take note of a failure."""
        self.count += 1
        with self._status.paused():
            say_mistake(str(failure))
