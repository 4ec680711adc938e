"""Trajectories as a figure; matplotlib draws it, which is the extra ``plots``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnitrace._utils.files import write_bytes
from omnitrace._utils.palette import NEUTRAL, OUTCOMES, SERIES
from omnitrace._utils.plain_text import plain
from omnitrace.analysis.failure import Prediction
from omnitrace.analysis.trajectories import Trajectory, TrajectoryConfig, trajectory
from omnitrace.errors import InputError
from omnitrace.trace.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STYLE", "check_plot", "draw_trajectories", "literal", "new_figure", "plot_trajectories"]

#: More paths than these in one panel are no picture any more; the first ones are drawn.
SHOWN: Final = 12
_DPI: Final = 150
STYLE: Final[Any] = {"font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
# How a response that is right, wrong or neither is drawn, beside its colour.
_LINES: Final[Any] = {True: "-", False: "--", None: "-"}
_MARKS: Final = {True: "o", False: "^", None: "o"}
_WORDS: Final = {True: "right", False: "wrong", None: "not known"}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches; it belongs to no window.

    Raises
    ------
    InputError
        If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "plots are drawn by matplotlib, which is not installed",
            fix="pip install 'omnitrace-attribution[plots]'",
        ) from error
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def literal(text: str) -> str:
    """Return a text that matplotlib shows as it is: on one line, and no formula between ``$``."""
    return plain(text).replace("$", r"\$")


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be drawn, before any work is spent on it.

    Raises
    ------
    InputError
        If matplotlib is missing, or cannot write files of this ending.
    """
    endings = sorted(new_figure(1, 1).canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in endings:
        raise InputError(
            f"the plot {str(path)!r} ends in {path.suffix!r}",
            legal=", ".join(f".{each}" for each in endings),
        )


def draw_trajectories(
    trajectories: Mapping[str, Trajectory],
    path: Path,
    *,
    right: Mapping[str, bool] | None = None,
    predictions: Sequence[Prediction] = (),
) -> Path:
    """Write the figure of :func:`plot_trajectories` into a file, whose ending says the format.

    Raises
    ------
    InputError
        As :func:`check_plot`, or if the file cannot be written.
    """
    check_plot(path)
    figure = plot_trajectories(trajectories, right=right, predictions=predictions)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower())
    write_bytes(path, drawn.getvalue())
    return path


def plot_trajectories(
    trajectories: Trace | Mapping[str, Trajectory],
    *,
    config: TrajectoryConfig | None = None,
    right: Mapping[str, bool] | None = None,
    predictions: Sequence[Prediction] = (),
) -> Figure:
    """Draw paths and concentrations of traces, and how early failure is predicted.

    Parameters
    ----------
    trajectories:
        A trace, or trajectories by the name of the trace; of more than :data:`SHOWN` the first are
        drawn.
    config:
        For a trace: what a step is.
    right:
        Which traces are right, where that is known: their lines are blue and solid, those of wrong
        ones red and dashed. Without it each of a few traces has a colour of its own.
    predictions:
        What :func:`~omnitrace.analysis.failure.predict_failure` found; that of the tortuosity is
        drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels, three with predictions; ``figure.savefig("paths.png")`` writes it.

    Raises
    ------
    InputError
        If matplotlib is missing.
    """
    if isinstance(trajectories, Trace):
        trajectories = {"the trace": trajectory(trajectories, config)}
    curve = [each for each in predictions if each.figure == "tortuosity"]
    panels = 3 if curve else 2
    figure = new_figure(4.2 * panels, 3.8)
    import matplotlib as mpl

    shown = dict(list(trajectories.items())[:SHOWN])
    with mpl.rc_context(STYLE):
        axes = figure.subplots(1, panels)
        for number, (name, each) in enumerate(shown.items()):
            outcome = (right or {}).get(name)
            colour = OUTCOMES[outcome]
            if not right and len(shown) <= len(SERIES):
                colour = SERIES[number]
            look = {"color": colour, "linestyle": _LINES[outcome], "linewidth": 1.2}
            _draw_path(axes[0], each, look, _MARKS[outcome])
            _draw_concentration(axes[1], each, look)
        _finish(axes, len(shown), len(trajectories))
        _legends(axes, shown, right)
        if curve:
            _draw_curve(axes[2], curve)
    return figure


def _draw_path(axes: Any, each: Trajectory, look: Mapping[str, Any], mark: str) -> None:
    """Draw the first two components from where the path begins, as their origin is arbitrary."""
    if not len(each.path):
        return
    points = np.zeros((len(each.path), 2))
    points[:, : min(2, each.path.shape[1])] = (each.path - each.path[0])[:, :2]
    axes.plot(*points.T, marker=mark, markersize=3, alpha=0.8, **look)
    axes.plot(*points[-1], "s", color=look["color"], markersize=6)


def _draw_concentration(axes: Any, each: Trajectory, look: Mapping[str, Any]) -> None:
    """Draw the share of the strongest unit; a mark where another unit becomes the strongest."""
    positive = np.maximum(each.steps.vectors, 0.0)
    sums = positive.sum(axis=1)
    if not (sums > 0).any():
        return
    resting = sums > 0
    shares = positive[resting].max(axis=1) / sums[resting]
    elapsed = each.steps.elapsed[resting]
    switched = np.flatnonzero(np.diff(positive[resting].argmax(axis=1))) + 1
    axes.plot(elapsed, shares, alpha=0.8, **look)
    axes.plot(elapsed[switched], shares[switched], "x", color=look["color"], markersize=5)


def _finish(axes: Any, shown: int, count: int) -> None:
    of = f" (first {shown} of {count})" if shown < count else ""
    axes[0].set(
        title=f"Paths{of}",
        xlabel="first component, from the first step",
        ylabel="second component",
    )
    axes[1].set(
        title="Concentration",
        xlabel="share of the tokens written",
        ylabel="share of the strongest unit",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )


def _legends(axes: Any, shown: Mapping[str, Trajectory], right: Mapping[str, bool] | None) -> None:
    """Say what colours, lines and marks mean."""
    from matplotlib.lines import Line2D

    lines = []
    if right:
        outcomes = {right.get(name) for name in shown}
        lines = [
            Line2D([], [], color=OUTCOMES[o], linestyle=_LINES[o], marker=_MARKS[o], markersize=3)
            for o in _WORDS
            if o in outcomes
        ]
        labels = [_WORDS[o] for o in _WORDS if o in outcomes]
    elif len(shown) <= len(SERIES):
        lines = [Line2D([], [], color=colour) for _, colour in zip(shown, SERIES, strict=False)]
        labels = [literal(name) for name in shown]
    else:
        lines, labels = [Line2D([], [], color=NEUTRAL)], ["a trace"]
    end = Line2D([], [], color=NEUTRAL, marker="s", linestyle="", markersize=5)
    other = Line2D([], [], color=NEUTRAL, marker="x", linestyle="", markersize=5)
    axes[0].legend([*lines, end], [*labels, "its last step"], fontsize=7)
    axes[1].legend([*lines, other], [*labels, "another unit is the strongest"], fontsize=7)


def _draw_curve(axes: Any, curve: Sequence[Prediction]) -> None:
    shares = [each.elapsed for each in curve]
    colour = SERIES[0]
    axes.axhline(0.5, color=NEUTRAL, linewidth=1, linestyle="--", label="chance")
    axes.fill_between(
        shares,
        [e.auc.low for e in curve],
        [e.auc.high for e in curve],
        color=colour,
        alpha=0.15,
        label="interval",
    )
    axes.plot(
        shares, [each.auc.value for each in curve], "-o", color=colour, markersize=3, label="AUC"
    )
    axes.set(
        title="Failure predicted by tortuosity",
        xlabel="share of the tokens written",
        ylabel="AUC, with its interval",
        xlim=(0, 1.02),
        ylim=(0, 1),
    )
    axes.legend(fontsize=7)
