"""``omnitrace show``: print a saved trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.console import make_console, print_json
from omnitrace.cli.exit_codes import guarded, say
from omnitrace.errors import InputError

__all__ = ["show"]


@guarded
def show(
    path: Annotated[
        Path, typer.Argument(metavar="TRACE", help="A file or folder that --out wrote.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the trace as one JSON document.")
    ] = False,
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="STATEMENT",
            help="On what each word of one statement rests: its number, from 1, or words of it.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report to this file.")] = None,
) -> None:
    """Print a saved trace: the response with markers, and below it the sources they name."""
    from omnitrace.cli.trace_view import print_trace
    from omnitrace.cli.word_view import print_words, span_named
    from omnitrace.trace.request_record import request_name
    from omnitrace.trace.trace import Trace

    if as_json and tokens is not None:
        raise InputError("--tokens means nothing with --json", fix="leave one of them out")
    loaded = Trace.load(path)
    if as_json:
        print_json(loaded.to_dict())
    elif tokens is not None:
        print_words(make_console(), loaded, span_named(loaded, tokens))
    else:
        print_trace(make_console(), loaded, request_name(path))
    if html is not None:
        loaded.to_html(html)
        say(f"wrote {html}")
