"""``omnitrace analyse``: how the support of responses moves while they are written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from omnitrace._utils.file_names import safe_name
from omnitrace.cli.console import make_console, print_json, print_notes, print_table
from omnitrace.cli.exit_codes import guarded, say
from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.analysis.failure import Prediction
    from omnitrace.analysis.trajectories import Trajectory, TrajectoryConfig

__all__ = ["analyse"]

_FORMAT: Final = "omnitrace-trajectories"
_VERSION: Final = 1
_NONE: Final = "\N{EN DASH}"
_COLUMNS: Final = (
    "path_length",
    "tortuosity",
    "concentration",
    "unsteadiness",
    "switching",
    "fixation",
    "wandering",
)


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
            "--json' wrote. Adds how early failure can be predicted."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
) -> None:
    """Say how the support of responses moves from unit to unit, step by step.

    Path length, tortuosity, concentration and switching rate as of vSTREAM, and whether a response
    is fixed on one unit or wanders; no model is needed (docs/how-to/analyse-trajectories.md).
    """
    from omnitrace.analysis.failure import predict_failure
    from omnitrace.analysis.outcomes import read_outcomes
    from omnitrace.analysis.trajectories import TrajectoryConfig, trajectory
    from omnitrace.evaluation.example_set import find_traces
    from omnitrace.trace.request_record import request_name
    from omnitrace.trace.trace import Trace

    if window is not None and by is _By.span:
        raise InputError("--window means nothing for spans", fix="add --by tokens")
    config = TrajectoryConfig(
        by=by.value,
        window=window or 16,
        section=None if section is _Section.all else section.value,  # type: ignore[arg-type]
        scale=scale.value,
    )
    files = find_traces(traces)
    if plot is not None:
        from omnitrace.analysis.plot import check_plot

        check_plot(plot)
    said = None if outcomes is None else _named(read_outcomes(outcomes), outcomes)
    found = {request_name(path): trajectory(Trace.load(path), config) for path in files}
    right = None if said is None else {name: said[name] for name in found if name in said}
    predictions: list[Prediction] = []
    if right is not None:
        if not right:
            raise InputError(
                f"{str(outcomes)!r} has an outcome of none of the {len(found)} traces",
                legal="ids that the trace files are named after",
            )
        steps = [found[name].steps for name in right]
        predictions = predict_failure(steps, list(right.values()), seed=seed)
    if as_json:
        print_json(_document(found, config, right, predictions))
    else:
        _print(found, right, predictions, missing=len(said or {}) - len(right or {}))
    if plot is not None:
        from omnitrace.analysis.plot import draw_trajectories

        say(f"wrote {draw_trajectories(found, plot, right=right, predictions=predictions)}")


def _named(outcomes: Mapping[str, bool], path: Path) -> dict[str, bool]:
    """Return the outcomes by the names that trace files have."""
    named = {safe_name(name): right for name, right in outcomes.items()}
    if len(named) < len(outcomes):
        raise InputError(
            f"ids of {str(path)!r} are the same as file names", fix="give them clearer ids"
        )
    return named


def _document(
    found: Mapping[str, Trajectory],
    config: TrajectoryConfig,
    right: Mapping[str, bool] | None,
    predictions: Sequence[Prediction],
) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "config": dataclasses.asdict(config),
        "traces": [
            {
                "id": name,
                **each.figures(),
                "elapsed": each.steps.elapsed.tolist(),
                "path": each.path.tolist(),
                **({} if right is None else {"right": right.get(name)}),
            }
            for name, each in found.items()
        ],
        "predictions": [each.figures() for each in predictions],
    }


def _print(
    found: Mapping[str, Trajectory],
    right: Mapping[str, bool] | None,
    predictions: Sequence[Prediction],
    *,
    missing: int,
) -> None:
    console = make_console()
    print_table(console, _figures(found, right))
    sources = sorted({each.steps.source for each in found.values()})
    notes = [f"steps are of {' or '.join(sources)}; {_NONE}: too few steps, or no support"]
    if any(each.steps.source == "masses" for each in found.values()):
        notes.append("masses say where the model looked, not what changed its response")
    if right is not None:
        console.print()
        console.print(Text("Failure predicted by elapsed share, AUC", style="bold"), soft_wrap=True)
        print_table(console, _aucs(predictions))
        notes.append(f"{sum(right.values())} right and {len(right) - sum(right.values())} wrong")
        for number, what in (
            (len(found) - len(right), "traces have no outcome and are left out of the AUC"),
            (missing, "outcomes have no trace"),
        ):
            if number:
                notes.append(f"{number} {what}")
    print_notes(console, notes)


def _figures(found: Mapping[str, Trajectory], right: Mapping[str, bool] | None) -> list[list[str]]:
    outcome = [] if right is None else ["outcome"]
    outcomes = {True: "right", False: "wrong", None: _NONE}
    headings = [name.replace("_", " ") for name in _COLUMNS]
    rows = [["trace", *outcome, "steps", *headings, "mode", "strongest unit"]]
    for name, each in found.items():
        strongest = _NONE if each.dominant is None else f"{each.dominant} ({each.dominance:.0%})"
        rows.append(
            [
                name,
                *([] if right is None else [outcomes[right.get(name)]]),
                str(len(each.steps)),
                *(_number(getattr(each, column)) for column in _COLUMNS),
                each.mode or _NONE,
                strongest,
            ]
        )
    return rows


def _aucs(predictions: Sequence[Prediction]) -> list[list[str]]:
    from omnitrace.analysis.trajectories import FIGURES

    rows = [["elapsed", *(name.replace("_", " ") for name in FIGURES), "without tortuosity"]]
    for start in range(0, len(predictions), len(FIGURES)):
        here = predictions[start : start + len(FIGURES)]
        undefined = f"{here[0].undefined} of {here[0].undefined + here[0].wrong + here[0].right}"
        rows.append([f"{here[0].elapsed:.0%}", *(each.auc.text() for each in here), undefined])
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return "\N{INFINITY}" if value == math.inf else f"{value:.3f}"
