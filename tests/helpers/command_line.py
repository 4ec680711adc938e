"""Run commands of omnitrace in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner, Result

from omnitrace.cli.app import app

Run = Callable[..., Result]
#: Options with which the untrained model writes the same ten tokens each time.
SAMPLING = ("--sample", "--seed", "3", "--max-new-tokens", "10")


def run_command(*args: str | Path) -> Result:
    """Run ``omnitrace`` with these arguments, wide enough that tables do not wrap."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(arg) for arg in args])
