"""``omnitrace table``: all supports of a run as one Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.exit_codes import MISTAKE, guarded, say, say_mistake
from omnitrace.errors import OmnitraceError

__all__ = ["table"]


@guarded
def table(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder that 'omnitrace trace --out' wrote.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write.", show_default="RUN/supports.parquet"),
    ] = None,
) -> None:
    """Write the supports of all traces of a run as one table that pandas, Polars and DuckDB read.

    A row for each statement and source that supports it, and one for a statement without. The
    columns: docs/reference/exports.md.
    """
    from omnitrace.runs.results import write_supports

    broken: list[str] = []

    def note(name: str, error: OmnitraceError) -> None:
        broken.append(name)
        say_mistake(str(error))

    path, rows = write_supports(run, out, failed=note)
    say(f"wrote {path} with {rows} rows")
    if broken:
        say(f"{len(broken)} traces are left out: {', '.join(broken)}")
        raise typer.Exit(MISTAKE)
