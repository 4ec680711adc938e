"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AudioUnits",
    "Device",
    "ImageUnits",
    "MaxNewTokens",
    "MediaRoot",
    "Traces",
    "VideoUnits",
    "listed",
]

Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Where the model runs: cpu, cuda, cuda:1, or auto (over all "
        "accelerators); by default a CUDA device where there is one.",
        show_default=False,
    ),
]
ImageUnits: TypeAlias = Annotated[
    str,
    typer.Option(
        help="What cuts images; see 'omnitrace list unitizers'. Parameters follow a colon: "
        "ward:regions=40."
    ),
]
AudioUnits: TypeAlias = Annotated[
    str, typer.Option(help="What cuts audio: bins, bins:seconds=2, changes, …")
]
VideoUnits: TypeAlias = Annotated[str, typer.Option(help="What cuts videos, in the same way.")]
MaxNewTokens: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Longest response to a request, in tokens.")
]
MediaRoot: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Where relative media paths of requests start; by default their file."),
]
Traces: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="TRACES...", help="Trace files, or folders of them, as --out wrote."),
]


def listed(names: str) -> list[str]:
    """Read an option that takes several names, separated by commas."""
    return [name.strip() for name in names.split(",") if name.strip()]
