"""``omnitrace show``: print a saved trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.console import make_console, print_json, print_trace
from omnitrace.cli.exit_codes import guarded, say

__all__ = ["show"]


@guarded
def show(
    path: Annotated[
        Path, typer.Argument(metavar="TRACE", help="A file or folder that --out wrote.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the trace as one JSON document.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write a report to this file.")] = None,
) -> None:
    """Print a saved trace."""
    from omnitrace.trace.trace import Trace

    loaded = Trace.load(path)
    if as_json:
        print_json(loaded.to_dict())
    else:
        print_trace(make_console(), loaded, path.stem)
    if html is not None:
        loaded.to_html(html)
        say(f"wrote {html}")
