"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AudioUnits",
    "Device",
    "HistorySources",
    "ImageUnits",
    "Language",
    "MaxNewTokens",
    "MediaRoot",
    "SystemSources",
    "TextUnits",
    "Traces",
    "VideoFps",
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
    str, typer.Option(help="What cuts audio: bins, bins:seconds=2, changes, speech, …")
]
VideoUnits: TypeAlias = Annotated[str, typer.Option(help="What cuts videos, in the same way.")]
TextUnits: TypeAlias = Annotated[
    str, typer.Option(help="What texts are cut into: sentence, paragraph, whole or documents.")
]
SystemSources: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--system/--no-system",
        help="Whether system texts are sources; by default where the last user message holds none.",
        show_default=False,
    ),
]
HistorySources: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--history/--no-history",
        help="Whether texts of earlier turns are sources; by default in the same way.",
        show_default=False,
    ),
]
Language: TypeAlias = Annotated[
    str, typer.Option(help="Language of the texts, for sentence boundaries (ISO 639-1).")
]
VideoFps: TypeAlias = Annotated[
    float, typer.Option(help="Frames per second that are sampled from a video.")
]
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
