"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["AudioUnits", "Device", "ImageUnits", "VideoUnits"]

Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Where the model runs: cpu, cuda, cuda:1, or auto (over all accelerators, with "
        "accelerate installed); by default a CUDA device where there is one.",
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
    str, typer.Option(help="What cuts recordings: bins, bins:seconds=2, changes, …")
]
VideoUnits: TypeAlias = Annotated[str, typer.Option(help="What cuts videos, in the same way.")]
