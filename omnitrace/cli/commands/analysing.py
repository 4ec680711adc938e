"""``omnitrace analyse``: how the support of responses moves while they are written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from omnitrace.analysis.failure import Prediction, predict_failure
from omnitrace.analysis.outcomes import read_outcomes
from omnitrace.analysis.trajectories import (
    FIGURES,
    Trajectory,
    TrajectoryConfig,
    trajectory,
)
from omnitrace.cli.commands.trace import print_json, safe_name
from omnitrace.cli.console import make_console, plain, print_table
from omnitrace.cli.exit_codes import say
from omnitrace.cli.input_files import find_traces
from omnitrace.errors import InputError
from omnitrace.trace.trace import Trace

__all__ = ["analyse_files"]

FORMAT: Final = "omnitrace-trajectories"
VERSION: Final = 1
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


def analyse_files(
    paths: Sequence[Path],
    config: TrajectoryConfig,
    *,
    as_json: bool = False,
    plot: Path | None = None,
    outcomes: Path | None = None,
    seed: int = 0,
) -> None:
    """Measure the trajectories of traces, print tables or one JSON document, draw the plot."""
    files = find_traces(paths)
    if plot is not None:
        from omnitrace.analysis.plot import check_plot

        check_plot(plot)
    said = None if outcomes is None else _named(read_outcomes(outcomes), outcomes)
    found = {path.stem: trajectory(Trace.load(path), config) for path in files}
    right = None if said is None else {name: said[name] for name in found if name in said}
    predictions: list[Prediction] = []
    if right is not None:
        if not right:
            raise InputError(
                f"{str(outcomes)!r} has an outcome of none of the {len(found)} traces",
                legal="ids that the trace files are named after",
            )
        judged = [found[name].steps for name in right]
        predictions = predict_failure(judged, list(right.values()), seed=seed)
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
        "format": FORMAT,
        "version": VERSION,
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
    notes = [f"steps rest on {' or '.join(sources)}; {_NONE}: too few steps, or none rests on any"]
    if any(each.steps.source == "masses" for each in found.values()):
        notes.append("masses say where the model looked, not what changed its answer")
    if right is not None:
        console.print()
        console.print(Text("Failure told by elapsed share, AUC", style="bold"), soft_wrap=True)
        print_table(console, _aucs(predictions))
        notes.append(f"{sum(right.values())} right and {len(right) - sum(right.values())} wrong")
        for number, what in (
            (len(found) - len(right), "traces have no outcome and are left out of the AUC"),
            (missing, "outcomes have no trace"),
        ):
            if number:
                notes.append(f"{number} {what}")
    for note in notes:
        console.print(Text(plain(note), style="dim"), soft_wrap=True)


def _figures(found: Mapping[str, Trajectory], right: Mapping[str, bool] | None) -> list[list[str]]:
    outcome = [] if right is None else ["outcome"]
    headings = [name.replace("_", " ") for name in _COLUMNS]
    rows = [["trace", *outcome, "steps", *headings, "mode", "strongest unit"]]
    for name, each in found.items():
        told = {True: "right", False: "wrong", None: _NONE}
        strongest = _NONE if each.dominant is None else f"{each.dominant} ({each.dominance:.0%})"
        rows.append(
            [
                name,
                *([] if right is None else [told[right.get(name)]]),
                str(len(each.steps)),
                *(_number(getattr(each, column)) for column in _COLUMNS),
                each.mode or _NONE,
                strongest,
            ]
        )
    return rows


def _aucs(predictions: Sequence[Prediction]) -> list[list[str]]:
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
