"""``omnitrace doctor``: whether a model is traced rightly, line by line, with the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from omnitrace._utils.files import check_output, write_text
from omnitrace.cli.console import (
    StatusLine,
    make_console,
    plain,
    print_json,
    print_notes,
    print_table,
)
from omnitrace.cli.exit_codes import DEFECT, guarded, say
from omnitrace.cli.loading import load_model
from omnitrace.cli.options import Device
from omnitrace.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from omnitrace.models.base import ModelAdapter
    from omnitrace.testing.doctor import Diagnosis

__all__ = ["doctor"]

_ALL: Final = "all"
_STYLES: Final = {"supported": "green", "degraded": "yellow", "wrong": "bold red"}


@guarded
def doctor(
    model: Annotated[
        str,
        typer.Argument(
            help="The model, as for 'omnitrace trace --model'. With --tiny a family (such as "
            "qwen3-vl), a hub id or folder whose configuration says the family, or 'all'.",
        ),
    ],
    device: Device = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full/--quick",
            help="Prove 200 places a modality instead of 24, and try more requests and masks.",
        ),
    ] = False,
    tiny: Annotated[
        bool,
        typer.Option(
            "--tiny",
            help="Check the family's tiny random model instead of the checkpoint: nothing is "
            "downloaded, and it takes seconds.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document a model, a line each.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table to paste into an issue.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write the report there: JSON if it ends in .json, else Markdown."),
    ] = None,
) -> None:
    """Check whether omnitrace maps, captures and ablates a model rightly, and say by what evidence.

    Each line is supported, degraded (with the limit), wrong, or not applicable (with the reason).
    Exit code 1 if anything is wrong.
    """
    from omnitrace.testing.doctor import diagnose

    if as_json and markdown:
        raise InputError("--json and --markdown are given", legal="one of them")
    if out is not None:
        check_output(out)
    found: list[Diagnosis] = []
    with StatusLine() as status:
        for adapter in _adapters(model, status, tiny=tiny, device=device):

            def show(check: str, done: int, total: int, name: str = adapter.source) -> None:
                status.show(f"{name}: {check} ({done + 1} of {total})")

            found.append(diagnose(adapter, level="full" if full else "quick", progress=show))
            with status.paused():
                if as_json:
                    print_json(found[-1].to_document())
                elif markdown:
                    print(found[-1].to_markdown(), flush=True)
                else:
                    _print(found[-1])
    if out is not None:
        say(f"wrote {write_text(out, _document(found, out))}")
    wrong = [each.model for each in found if each.of("wrong")]
    if wrong and len(found) > 1:
        say(f"something is wrong with {', '.join(wrong)}")
    raise typer.Exit(DEFECT if wrong else 0)


def _adapters(
    model: str, status: StatusLine, *, tiny: bool, device: str | None
) -> Iterator[ModelAdapter]:
    if not tiny:
        yield load_model(model, status, device=device)
        return
    if device not in (None, "cpu"):
        raise InputError(f"--device {device} with --tiny", legal="tiny models run on the CPU")
    from omnitrace.testing.families import TINY, tiny_family

    for name in TINY if model == _ALL else [_family(model, list(TINY))]:
        status.show(f"making a tiny {name}")
        yield tiny_family(name)


def _family(model: str, known: Sequence[str]) -> str:
    """Return the name of the family of a model, which may be that name itself."""
    if model in known:
        return model
    from omnitrace.models.families import family_of
    from omnitrace.models.loading import load_config

    near = did_you_mean(model, known)
    if near and "/" not in model and not Path(model).exists():
        raise InputError(f"there is no family {model!r}", legal=", ".join(known), fix=near)
    config = load_config(model)
    family = family_of(config)
    if family is None:
        raise InputError(
            f"{model!r} is a {type(config).__name__}, which is of no family with a tiny model",
            legal=", ".join(known),
            fix="leave out --tiny to check the checkpoint itself",
        )
    return family.name


def _document(found: Sequence[Diagnosis], out: Path) -> str:
    if out.suffix != ".json":
        return "\n".join(each.to_markdown() for each in found)
    documents = [each.to_document() for each in found]
    whole = documents[0] if len(documents) == 1 else documents
    return json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=1)


def _print(found: Diagnosis) -> None:
    console = make_console()
    console.print(
        Text(plain(f"{found.title}: {found.counts}"), style="bold underline"), soft_wrap=True
    )
    heads = ("check", "status", "evidence")
    if console.is_terminal:
        table = Table(*heads, box=None, header_style="bold", pad_edge=False)
        for line in found.lines:
            status = Text(line.status, style=_STYLES.get(line.status, "dim"))
            table.add_row(line.name, status, Text(plain(line.evidence)))
        console.print(table)
    else:  # what reads it from a pipe wants a line a check
        rows = [(line.name, line.status, line.evidence) for line in found.lines]
        print_table(console, [heads, *rows])
    print_notes(console, [found.setting])
    console.print()
