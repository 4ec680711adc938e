"""The commands about the generated world. Whatever is heavy is imported inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.guard import guarded

__all__ = ["reference"]

reference = typer.Typer(
    no_args_is_help=True, help="Requests of a generated world, whose evidence is known."
)


@reference.callback()
def _group() -> None:
    """Keep the name of a single command."""


@reference.command()
@guarded
def sample(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Another number draws another held-out sample.")
    ] = 0,
    questions: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many questions; fewer where there is less to ask. By default 1 to 6."
        ),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="With a recording or film of up to a minute and more.")
    ] = False,
) -> None:
    """Write a request that no training has seen, with its media and labels.

    Notes, PNG, WAV and MP4 files with questions about them in request.json, and labels.jsonl with
    the right answer and the evidence of each of its statements: to try a model or a signal with.
    """
    from omnitrace.cli.sampling import write_held_out

    write_held_out(out, seed, questions=questions, long=long)
