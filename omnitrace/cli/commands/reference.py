"""``omnitrace reference``: samples of the reference world as files."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from omnitrace._utils.files import make_folder, what_is
from omnitrace.cli.console import make_console, plain
from omnitrace.cli.exit_codes import guarded, say
from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.reference.world import Sample

__all__ = ["draw_held_out", "reference"]

reference = typer.Typer(
    no_args_is_help=True, help="Requests of a generated world, whose evidence is known."
)

_THINKING = (
    "Ask what needs several steps, which the right answer writes first, as thoughts; for "
    "'--model reference-thinking'."
)
_ALIGNED = (
    "Of the aligned world: objects inside one cell of an image, sounds inside one second, colours "
    "that fill whole seconds."
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
        bool, typer.Option("--long", help="With audio or video of up to a minute and more.")
    ] = False,
    thinking: Annotated[bool, typer.Option("--thinking", help=_THINKING)] = False,
    aligned: Annotated[bool, typer.Option("--aligned", help=_ALIGNED)] = False,
) -> None:
    """Write a request that no training has seen, with its media and labels.

    Notes, PNG, WAV and MP4 files with questions about them in request.json, and labels.jsonl with
    the right answer and the evidence of each of its statements: to try a model or a signal with.
    """
    _write_held_out(out, seed, questions=questions, long=long, thinking=thinking, aligned=aligned)


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
    aligned: Annotated[bool, typer.Option("--aligned", help=_ALIGNED)] = False,
) -> None:
    """Write many requests, with their media, as requests.jsonl and labels.jsonl.

    What 'trace', 'evaluate', 'sanity' and 'estimator train' take.
    """
    numbers = range(first, first + count)
    _write_many(out, numbers, validation=validation, thinking=thinking, aligned=aligned)


def _write_held_out(
    out: Path,
    seed: int,
    *,
    questions: int | None,
    long: bool,
    thinking: bool = False,
    aligned: bool = False,
) -> None:
    """Draw a sample, write it into a folder, and say what was written and how to go on.

    Raises
    ------
    InputError
        If the folder holds a request or labels already, or cannot be written.
    """
    from omnitrace.reference.files import LABELS, REQUEST, write_sample
    from omnitrace.reference.scenes import Note
    from omnitrace.reference.world import media_name

    _refuse_existing(out, (REQUEST, LABELS))
    sample = draw_held_out(seed, questions=questions, long=long, thinking=thinking, aligned=aligned)
    with _writing(out):
        request = write_sample(sample, make_folder(out))
    media = [
        media_name(part, scene)
        for part, scene in enumerate(sample.scenes)
        if not isinstance(scene, Note)
    ]
    console = make_console()
    console.print(Text(f"{sample.id}: {', '.join(sample.order)}", style="bold underline"))
    for line in (sample.question, sample.answer):
        console.print(Text(plain(line), style="dim"), soft_wrap=True)
    traces, labels = out / "traces", out / LABELS
    model = ["--model", "reference-thinking"] if thinking else []
    for command in (
        ["trace", str(request), *model, "--out", str(traces)],
        ["evaluate", str(traces), "--labels", str(labels)],
    ):
        console.print(Text(shlex.join(["omnitrace", *command])), soft_wrap=True)
    say(f"wrote {', '.join([REQUEST, LABELS, *media])} to {out}")


def _write_many(
    out: Path,
    numbers: Iterable[int],
    *,
    validation: bool,
    thinking: bool = False,
    aligned: bool = False,
) -> None:
    """Write samples as they come, held-out ones or those for choices; errors are as above."""
    from omnitrace.reference.files import LABELS, REQUESTS, write_samples
    from omnitrace.reference.world import held_out_seed, make_sample, validation_seed

    _refuse_existing(out, (REQUESTS, LABELS))
    seed_of = validation_seed if validation else held_out_seed
    with _writing(out):
        requests = write_samples(
            (
                make_sample(seed_of(number), thinking=thinking, aligned=aligned)
                for number in numbers
            ),
            make_folder(out),
        )
    say(f"wrote {requests}, {LABELS}, and a folder of media for each request")


def _refuse_existing(out: Path, names: Iterable[str]) -> None:
    for name in names:
        if what_is(out / name):
            raise InputError(
                f"{str(out / name)!r} exists", fix="choose another folder, so that nothing is lost"
            )


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write into {str(out)!r}: {reason}") from error


def draw_held_out(
    seed: int,
    *,
    questions: int | None,
    long: bool,
    thinking: bool = False,
    aligned: bool = False,
) -> Sample:
    """Draw held-out sample ``seed``; a long one gets audio if it has nothing to be long."""
    from omnitrace.reference.world import held_out_seed, make_sample

    number = held_out_seed(seed)
    # By default whatever comes: some requests are long anyway.
    sample = make_sample(
        number, questions=questions, long=long or None, thinking=thinking, aligned=aligned
    )
    if not long or {"audio", "video"} & set(sample.order):
        return sample
    order = (*sample.order, "audio")
    return make_sample(
        number, questions=questions, long=True, order=order, thinking=thinking, aligned=aligned
    )
