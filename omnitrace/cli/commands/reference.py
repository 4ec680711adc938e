"""The commands about the generated world. Whatever is heavy is imported inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.exit_codes import guarded

__all__ = ["reference"]

reference = typer.Typer(
    no_args_is_help=True, help="Requests of a generated world, whose evidence is known."
)

_THINKING = (
    "Ask what needs several steps, which the right answer writes first, as thoughts; for "
    "'--model reference-thinking'."
)


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
            min=1,
            help="How many questions; fewer where there is less to ask. By default 1 to 6, of "
            "those that need several steps 1 to 3.",
        ),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="With a recording or film of up to a minute and more.")
    ] = False,
    thinking: Annotated[bool, typer.Option("--thinking", help=_THINKING)] = False,
) -> None:
    """Write a request that no training has seen, with its media and labels.

    Notes, PNG, WAV and MP4 files with questions about them in request.json, and labels.jsonl with
    the right answer and the evidence of each of its statements: to try a model or a signal with.
    """
    from omnitrace.cli.commands.reference_samples import write_held_out

    write_held_out(out, seed, questions=questions, long=long, thinking=thinking)


@reference.command()
@guarded
def samples(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    first: Annotated[int, typer.Option(min=0, help="Number of the first one.")] = 0,
    validation: Annotated[
        bool,
        typer.Option(
            "--validation", help="Of the samples for choices and training, not for figures."
        ),
    ] = False,
    thinking: Annotated[bool, typer.Option("--thinking", help=_THINKING)] = False,
) -> None:
    """Write many requests, with their media, as requests.jsonl and labels.jsonl.

    What 'trace', 'evaluate', 'sanity' and 'estimator train' take.
    """
    from omnitrace.cli.commands.reference_samples import write_many

    write_many(out, range(first, first + count), validation=validation, thinking=thinking)
