"""``omnitrace reference sample`` and ``samples``: samples of the reference world as files."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.text import Text

from omnitrace.cli.commands.trace import make_folder
from omnitrace.cli.console import make_console, plain
from omnitrace.cli.exit_codes import say
from omnitrace.errors import InputError
from omnitrace.reference.files import LABELS, REQUEST, REQUESTS, write_sample, write_samples
from omnitrace.reference.scenes import Note
from omnitrace.reference.world import (
    Sample,
    held_out_seed,
    make_sample,
    media_name,
    validation_seed,
)

__all__ = ["draw_held_out", "write_held_out", "write_many"]


def write_held_out(
    out: Path, seed: int, *, questions: int | None, long: bool, thinking: bool = False
) -> None:
    """Draw a sample, write it into a folder, and say what was written and how to go on.

    Raises
    ------
    InputError
        If the folder holds a request or labels already, or cannot be written.
    """
    _refuse_existing(out, (REQUEST, LABELS))
    sample = draw_held_out(seed, questions=questions, long=long, thinking=thinking)
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


def write_many(
    out: Path, numbers: Iterable[int], *, validation: bool, thinking: bool = False
) -> None:
    """Write samples as they come, held-out ones or those for choices; errors are as above."""
    _refuse_existing(out, (REQUESTS, LABELS))
    seed_of = validation_seed if validation else held_out_seed
    with _writing(out):
        requests = write_samples(
            (make_sample(seed_of(number), thinking=thinking) for number in numbers),
            make_folder(out),
        )
    say(f"wrote {requests}, {LABELS}, and a folder of media for each request")


def _refuse_existing(out: Path, names: Iterable[str]) -> None:
    for name in names:
        if (out / name).exists():
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
    seed: int, *, questions: int | None, long: bool, thinking: bool = False
) -> Sample:
    """Draw held-out sample ``seed``; a long one gets a recording if it has nothing to be long."""
    number = held_out_seed(seed)
    # By default whatever comes: some requests are long anyway.
    sample = make_sample(number, questions=questions, long=long or None, thinking=thinking)
    if not long or {"audio", "video"} & set(sample.order):
        return sample
    order = (*sample.order, "audio")
    return make_sample(number, questions=questions, long=True, order=order, thinking=thinking)
