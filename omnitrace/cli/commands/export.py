"""``omnitrace export``: write saved traces in the formats of other tools."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnitrace._utils.files import what_is, write_bytes
from omnitrace.cli.exit_codes import guarded, say
from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.export.base import NamedTrace

__all__ = ["export"]


@guarded
def export(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE...", help="Trace files, or folders of them.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="FORMAT", help="See 'omnitrace list exporters'.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder; or a file, if its name has an ending and one file is made. Without it "
            "the one file is printed."
        ),
    ] = None,
) -> None:
    """Write saved traces in a format of other tools: csv, webvtt, coco, openai and more.

    The formats, and the columns of the table: docs/reference/exports.md.
    """
    from omnitrace.evaluation.example_set import find_traces
    from omnitrace.export.base import exported_files, write_exports
    from omnitrace.trace.request_record import request_name
    from omnitrace.trace.trace import Trace

    def named() -> Iterator[NamedTrace]:
        for path in paths:
            yield request_name(path), Trace.load(path)

    paths = find_traces(traces)
    if out is not None and not out.suffix:
        for path in write_exports(named(), to, out):
            say(f"wrote {path}")
        return
    if out is not None and what_is(out) == "folder":
        raise InputError(
            f"--out {str(out)!r} is a folder", legal="a folder without an ending, or a file"
        )
    file, *others = itertools.islice(exported_files(named(), to), 2)
    if others:
        raise InputError(
            f"{to!r} makes several files of these traces", fix="name a folder: --out FOLDER"
        )
    if out is not None:
        say(f"wrote {write_bytes(out, file.data)}")
    elif file.is_text:
        print(file.data.decode("utf-8"), end="", flush=True)
    else:
        raise InputError(f"{to!r} makes no text", fix=f"name a file: --out {file.name}")
