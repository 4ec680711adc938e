"""The plots of an evaluation, as plain coordinates: a template draws them and decides nothing.

Every plot lies in the unit square; ``frame`` turns it into the pixels of an SVG image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from omnitrace.evaluation.aggregate import by_example
from omnitrace.evaluation.metrics.agreement import PositionBias
from omnitrace.evaluation.metrics.bias import Bias
from omnitrace.evaluation.metrics.bootstrap import Estimate, bootstrap_mean
from omnitrace.evaluation.rows import TRACED, ScoreRow

__all__ = ["LENGTHS", "calibration_plot", "f1_by_length", "length_plot", "position_plot"]

WIDTH: Final = 420
HEIGHT: Final = 320
_LEFT, _TOP, _RIGHT, _BOTTOM = 48, 12, 14, 46
_TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_LARGEST: Final = 9.0  # radius of a point
_TO: Final = "\N{EN DASH}"

#: First and last number of words of the bins of span lengths; the last bin is open.
LENGTHS: Final = ((1, 4), (5, 9), (10, 14), (15, 19), (20, 29), (30, None))


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of a plot, in [0, 1]²; its area is in proportion to ``weight``."""

    x: float
    y: float
    note: str
    weight: float = 0.2
    low: float | None = None
    high: float | None = None


def calibration_plot(bias: Bias) -> dict[str, Any] | None:
    """Return predicted against labelled modality mass; None where nothing was measured.

    A point is a bin of predicted shares, its area the number of spans and modalities in it; on the
    diagonal the signal is calibrated (OmniTrace, Fig. 3).
    """
    if not bias.calibration:
        return None
    most = max(each.count for each in bias.calibration)
    points = [
        _Point(
            each.predicted,
            each.labelled,
            f"predicted {each.predicted:.2f}, labelled {each.labelled:.2f}, {each.count} shares",
            each.count / most,
        )
        for each in bias.calibration
    ]
    return _plot(
        "Calibration",
        "Share of the source mass on a modality against the share of the true units that are of "
        "it; on the diagonal a signal is calibrated.",
        ("predicted share", "labelled share"),
        lines=[("ideal", "reference", [(0, 0), (1, 1)])],
        points=points,
    )


def position_plot(bias: Bias) -> dict[str, Any] | None:
    """Return the distributions of the places of chosen and true units; None without chosen ones."""
    if bias.chosen is None:
        return None
    lines = [("uniform", "reference", [(0.0, 0.0), (1.0, 1.0)])]
    if bias.labelled is not None:
        lines.append(("true units", "second", list(_steps(bias.labelled))))
    lines.append(("chosen units", "first", list(_steps(bias.chosen))))
    return _plot(
        "Positions",
        "Cumulative share of units by their place in the request, from its beginning (0) to its "
        "end (1). A choice is biased where it leaves the true units, not the diagonal.",
        ("place in the request", "share of units up to there"),
        lines=lines,
    )


def length_plot(
    rows: Sequence[ScoreRow], *, draws: int = 1000, seed: int = 0
) -> dict[str, Any] | None:
    """Return the F1 of the trace by the length of the span; None where there is no F1."""
    found = f1_by_length(rows, draws=draws, seed=seed)
    if not found:
        return None
    bins = [(first, last) for first, last, _ in found]
    points = []
    for number, (_, _, estimate) in enumerate(found):
        note = f"{estimate.text()}, {estimate.count} spans"
        x = (number + 0.5) / len(found)
        points.append(_Point(x, estimate.value, note, low=estimate.low, high=estimate.high))
    labels = [f"{a}{_TO}{b}" if b is not None else f"{a}+" for a, b in bins]
    return _plot(
        "F1 by length of the span",
        "Mean F1 of the trace over spans of so many words, with intervals over examples.",
        ("words of the span", "F1"),
        lines=[("trace", "first", [(point.x, point.y) for point in points])],
        points=points,
        ticks=[(point.x, label) for point, label in zip(points, labels, strict=True)],
    )


def f1_by_length(
    rows: Sequence[ScoreRow], *, draws: int = 1000, seed: int = 0
) -> list[tuple[int, int | None, Estimate]]:
    """Return first and last number of words and the mean F1 of the trace, for each filled bin."""
    scored = [r for r in rows if r.method == TRACED and r.level == "span" and "f1" in r.values]
    found: list[tuple[int, int | None, Estimate]] = []
    for first, last in LENGTHS:
        here = [r for r in scored if first <= r.length and (last is None or r.length <= last)]
        groups = [[row.values["f1"] for row in each] for each in by_example(here)]
        estimate = bootstrap_mean(groups, draws=draws, seed=seed)
        if estimate.count:
            found.append((first, last, estimate))
    return found


def _steps(positions: PositionBias) -> Iterator[tuple[float, float]]:
    """Yield the corners of an empirical distribution, from (0, 0) to (1, 1)."""
    reached = 0.0
    yield 0.0, 0.0
    for x, y in zip(positions.positions, positions.cdf, strict=True):
        yield x, reached
        yield x, y
        reached = y
    yield 1.0, 1.0


def _plot(
    title: str,
    caption: str,
    axes: tuple[str, str],
    *,
    lines: Sequence[tuple[str, str, Sequence[tuple[float, float]]]] = (),
    points: Sequence[_Point] = (),
    ticks: Sequence[tuple[float, str]] | None = None,
) -> dict[str, Any]:
    """Turn a plot of the unit square into pixels; lines are (name, style, corners)."""
    if ticks is None:
        ticks = [(value, f"{value:g}") for value in _TICKS]
    return {
        "title": title,
        "caption": caption,
        "axes": axes,
        "size": (WIDTH, HEIGHT),
        "frame": (_x(0), _y(1), _x(1) - _x(0), _y(0) - _y(1)),
        "x_ticks": [(_x(value), label) for value, label in ticks],
        "y_ticks": [(_y(value), f"{value:g}") for value in _TICKS],
        "lines": [
            (name, style, " ".join(f"{_x(x)},{_y(y)}" for x, y in corners))
            for name, style, corners in lines
        ],
        "points": [
            {
                "x": _x(point.x),
                "y": _y(point.y),
                "radius": round(max(2.5, _LARGEST * point.weight**0.5), 1),
                "note": point.note,
                "bar": None
                if point.low is None or point.high is None
                else (_y(point.high), _y(point.low)),
            }
            for point in points
        ],
    }


def _x(value: float) -> float:
    return round(_LEFT + value * (WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float) -> float:
    return round(HEIGHT - _BOTTOM - value * (HEIGHT - _TOP - _BOTTOM), 1)
