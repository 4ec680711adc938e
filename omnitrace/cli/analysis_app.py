"""The command that analyses finished traces. Whatever is heavy is imported inside it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.guard import guarded

__all__ = ["analysis"]

analysis = typer.Typer()


class _Section(StrEnum):
    thought = "thought"
    answer = "answer"
    all = "all"


class _By(StrEnum):
    span = "span"
    tokens = "tokens"


class _Scale(StrEnum):
    share = "share"
    raw = "raw"


@analysis.command()
@guarded
def analyse(
    traces: Annotated[
        list[Path],
        typer.Argument(metavar="TRACES...", help="Trace files, or folders of them."),
    ],
    by: Annotated[_By, typer.Option(help="What a step is.")] = _By.span,
    window: Annotated[
        int | None, typer.Option(min=1, help="With --by tokens: tokens of a step; by default 16.")
    ] = None,
    section: Annotated[
        _Section, typer.Option(help="Only what is thought, or only what is answered.")
    ] = _Section.all,
    scale: Annotated[
        _Scale, typer.Option(help="Steps as shares of their support, or as they are.")
    ] = _Scale.share,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, and no more.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw paths and curves into this file (.png, .svg, .pdf)."),
    ] = None,
    outcomes: Annotated[
        Path | None,
        typer.Option(
            help="Which responses are right: a .jsonl file with id and right, or what 'evaluate "
            "--json' wrote. Adds how early failure is told."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
) -> None:
    """Say how the support of responses moves from unit to unit, step by step.

    Path length, tortuosity, concentration and switching rate as of vSTREAM, and whether a response
    is fixed on one unit or wanders; no model is needed (docs/how-to/analyse-trajectories.md).
    """
    from omnitrace.analysis.trajectories import TrajectoryConfig
    from omnitrace.cli.analysing import analyse_files
    from omnitrace.errors import InputError

    if window is not None and by is _By.span:
        raise InputError("--window means nothing for spans", fix="add --by tokens")
    config = TrajectoryConfig(
        by=by.value,
        window=window or 16,
        section=None if section is _Section.all else section.value,  # type: ignore[arg-type]
        scale=scale.value,
    )
    analyse_files(traces, config, as_json=as_json, plot=plot, outcomes=outcomes, seed=seed)
