"""Trajectories as a figure; matplotlib draws it, which is the extra ``plots``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnitrace._utils.files import write_bytes
from omnitrace.analysis.failure import Prediction
from omnitrace.analysis.trajectories import Trajectory
from omnitrace.errors import InputError

__all__ = ["check_plot", "draw_trajectories"]

#: More paths than these in one panel are no picture any more; the first ones are drawn.
SHOWN: Final = 12
_RIGHT, _WRONG, _UNKNOWN = "#1d5a96", "#a3312a", "#59626b"
_STYLE: Final[Any] = {"figure.dpi": 150, "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be drawn, before any work is spent on it.

    Raises
    ------
    InputError
        If matplotlib is missing, or cannot write files of this ending.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "plots are drawn by matplotlib, which is not installed",
            fix="pip install 'omnitrace-attribution[plots]'",
        ) from error
    endings = sorted(Figure().canvas.get_supported_filetypes())
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
    """Draw paths and concentrations of traces, and how early failure is predicted.

    Parameters
    ----------
    trajectories:
        By the name of the trace; of more than :data:`SHOWN` the first are drawn.
    path:
        The file; its ending says the format.
    right:
        Which traces are right, where that is known.
    predictions:
        What :func:`~omnitrace.analysis.failure.predict_failure` found; that of the tortuosity is
        drawn.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        As :func:`check_plot`, or if the file cannot be written.
    """
    check_plot(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    curve = [each for each in predictions if each.figure == "tortuosity"]
    panels = 3 if curve else 2
    shown = dict(list(trajectories.items())[:SHOWN])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.2 * panels, 3.8), layout="constrained")
        axes = figure.subplots(1, panels)
        for name, each in shown.items():
            outcome = (right or {}).get(name)
            colour = _UNKNOWN if outcome is None else _RIGHT if outcome else _WRONG
            _draw_path(axes[0], each, colour, name if len(shown) <= 6 else "")
            _draw_concentration(axes[1], each, colour)
        _finish(axes, len(shown), len(trajectories), right)
        if curve:
            _draw_curve(axes[2], curve)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=path.suffix[1:].lower())
        write_bytes(path, drawn.getvalue())
    return path


def _draw_path(axes: Any, each: Trajectory, colour: str, label: str) -> None:
    """Draw the first two components from where the path begins, as their origin is arbitrary."""
    if not len(each.path):
        return
    points = np.zeros((len(each.path), 2))
    points[:, : min(2, each.path.shape[1])] = (each.path - each.path[0])[:, :2]
    axes.plot(*points.T, "-o", color=colour, markersize=2.5, linewidth=1, alpha=0.7)
    axes.plot(*points[-1], "s", color=colour, markersize=5)
    if label:
        axes.annotate(label, points[-1], textcoords="offset points", xytext=(4, 4), fontsize=7)


def _draw_concentration(axes: Any, each: Trajectory, colour: str) -> None:
    """Draw the share of the strongest unit; a mark where another unit becomes the strongest."""
    positive = np.maximum(each.steps.vectors, 0.0)
    sums = positive.sum(axis=1)
    if not (sums > 0).any():
        return
    resting = sums > 0
    shares = positive[resting].max(axis=1) / sums[resting]
    elapsed = each.steps.elapsed[resting]
    switched = np.flatnonzero(np.diff(positive[resting].argmax(axis=1))) + 1
    axes.plot(elapsed, shares, color=colour, linewidth=1, alpha=0.7)
    axes.plot(elapsed[switched], shares[switched], "x", color=colour, markersize=4)


def _finish(axes: Any, shown: int, count: int, right: Mapping[str, bool] | None) -> None:
    of = f" (first {shown} of {count})" if shown < count else ""
    colours = "; blue right, red wrong" if right else ""
    axes[0].set(
        title=f"Paths{of}{colours}",
        xlabel="first component, from the first step",
        ylabel="second component",
    )
    axes[1].set(
        title="Concentration; x: another unit",
        xlabel="share of the tokens written",
        ylabel="share of the strongest unit",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )


def _draw_curve(axes: Any, curve: Sequence[Prediction]) -> None:
    shares = [each.elapsed for each in curve]
    axes.axhline(0.5, color=_UNKNOWN, linewidth=1, linestyle="--")
    axes.fill_between(
        shares, [e.auc.low for e in curve], [e.auc.high for e in curve], color=_RIGHT, alpha=0.15
    )
    axes.plot(shares, [each.auc.value for each in curve], "-o", color=_RIGHT, markersize=3)
    axes.set(
        title="Failure predicted by tortuosity",
        xlabel="share of the tokens written",
        ylabel="AUC, with its interval",
        xlim=(0, 1.02),
        ylim=(0, 1),
    )
