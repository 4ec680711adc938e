"""Estimates of every measure for every method and column, and what is no mean over statements."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from common.report import markdown_table
from common.world_samples import ALL, COLUMNS, REFUSAL
from omnitrace import SelectionConfig
from omnitrace.evaluation.aggregate import by_example, together
from omnitrace.evaluation.metrics.agreement import abstention_f1
from omnitrace.evaluation.metrics.bootstrap import (
    Estimate,
    bootstrap,
    bootstrap_mean,
    paired_difference,
)
from omnitrace.evaluation.rows import TRACED, ScoreRow
from reference.rows import BASELINES, ORACLE, Collected, Key

__all__ = [
    "MEASURES",
    "Line",
    "best_threshold",
    "cross_fitted",
    "detail_markdown",
    "details",
    "lines_of",
]

#: Measures that are means over statements: of which level, and which metric.
MEASURES: Final[Mapping[str, tuple[str, str]]] = {
    "top-1": ("word", "top1"),
    "F1": ("span", "f1"),
    "cite-F1": ("span", "cite_f1"),
    "Time-F1": ("span", "time_f1"),
    "AUPRC": ("span", "auprc"),
}
#: Those that depend on what scores are, and not on what is selected.
_OF_SCORES: Final = ("top-1", "AUPRC")
# What separates refusals from statements: the table's measure, and the evaluation's statistic.
_ABSTENTION: Final = {
    "abstention_auroc": ("grounding AUROC", "abstention_auroc"),
    "fitted_f1": ("abstention F1, fitted", "abstention_f1"),
    "abstention_f1": ("abstention F1", "abstention_f1"),
}
_DRAWS: Final = 1000

Groups: TypeAlias = Mapping[Key, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: an estimate for each column."""

    measure: str
    method: str
    estimates: Mapping[str, Estimate]

    def cells(self, columns: Sequence[str] = COLUMNS) -> list[str]:
        """Format the line."""
        return [self.measure, self.method, *(self.estimates[name].text() for name in columns)]

    def figures(self) -> dict[str, Any]:
        """Return the line, JSON-ready."""
        estimates = {name: value.figures() for name, value in self.estimates.items()}
        return {"measure": self.measure, "method": self.method, "estimates": estimates}


def lines_of(
    found: Collected,
    signals: Sequence[str],
    selections: Mapping[str, SelectionConfig],
    usual: SelectionConfig,
    seed: int,
) -> list[list[Line]]:
    """Estimate everything, section by section.

    Parameters
    ----------
    found:
        What was collected, baselines included.
    signals:
        The signals; the first is the one of which rules were switched.
    selections:
        The switched selections by name, and what they are compared with.
    usual:
        The selection of the first signal.
    seed:
        Of the bootstrap.
    """
    first = signals[0]
    other_scores = [
        name
        for name, config in selections.items()
        if (config.assign, config.rollout) != (usual.assign, usual.rollout)
    ]
    estimate = functools.partial(_line, found, seed=seed)
    sections = [[_answers(found, first, seed)]]
    for measure in MEASURES:
        sections.append([estimate(measure, name) for name in (*signals, *BASELINES, ORACLE)])
        if measure in _OF_SCORES:
            sections.append([estimate(measure, name) for name in other_scores])
        elif measure == "F1":
            sections.append([estimate(measure, name) for name in selections])
            sections.append([_change(found, name, first, seed) for name in selections])
    spans = {name: _spans(found, name) for name in signals}
    sections.append([_abstention(found, "abstention_auroc", each, spans, seed) for each in signals])
    fitted = {name: cross_fitted(found, rows) for name, rows in spans.items()}
    as_is = _abstention(found, "abstention_f1", first, spans, seed)
    sections.append([_abstention(found, "fitted_f1", each, fitted, seed) for each in signals])
    sections[-1].append(as_is)
    return [section for section in sections if section]


def details(found: Collected, signals: Sequence[str], seed: int) -> list[Line]:
    """Estimate answers, top-1 and F1 for the groups that are no columns: categories, kinds."""
    groups = sorted(frozenset().union(*found.groups.values()) - {*COLUMNS, REFUSAL})
    lines = [_answers(found, signals[0], seed, groups)]
    for measure in ("top-1", "F1"):
        lines += [_line(found, measure, name, seed=seed, columns=groups) for name in signals]
    return lines


def detail_markdown(lines: Sequence[Line]) -> str:
    """Format answers and F1 of the details: a row for each group, a column for each line."""
    shown = [line for line in lines if line.measure != "top-1"]
    groups = lines[0].estimates
    rows = [[group, *(line.estimates[group].text() for line in shown)] for group in groups]
    return markdown_table(("group", *(f"{line.measure}, {line.method}" for line in shown)), rows)


def _line(
    found: Collected, measure: str, method: str, *, seed: int, columns: Iterable[str] = COLUMNS
) -> Line:
    level, metric = MEASURES[measure]

    def value(row: ScoreRow) -> float | None:
        return row.values[metric]

    rows = [row for row in found.rows[method] if row.level == level]
    return Line(measure, method, _means(rows, found.groups, columns, value, seed))


def _answers(found: Collected, first: str, seed: int, columns: Iterable[str] = COLUMNS) -> Line:
    spans = _spans(found, first)
    means = _means(spans, found.groups, columns, lambda row: float(row.said), seed)
    return Line("statements right", "sentence", means)


def _means(
    rows: Sequence[ScoreRow],
    groups: Groups,
    columns: Iterable[str],
    value: Callable[[ScoreRow], float | None],
    seed: int,
) -> dict[str, Estimate]:
    """Average over the statements of each column; intervals resample whole samples."""
    return {
        column: bootstrap_mean(
            [[value(row) for row in each] for each in by_example(_within(rows, groups, {column}))],
            seed=seed,
        )
        for column in columns
    }


def _within(rows: Iterable[ScoreRow], groups: Groups, wanted: Collection[str]) -> list[ScoreRow]:
    return [row for row in rows if not groups[row.example, row.span].isdisjoint(wanted)]


def _change(found: Collected, method: str, first: str, seed: int) -> Line:
    """Estimate by how much the F1 of a method differs, on the same statements."""

    def values(name: str, column: str) -> list[list[float | None]]:
        within = by_example(_within(_spans(found, name), found.groups, {column}))
        return [[row.values["f1"] for row in each] for each in within]

    estimates = {
        column: paired_difference(values(method, column), values(first, column), seed=seed)
        for column in COLUMNS
    }
    return Line("F1 change", method, estimates)


def _spans(found: Collected, method: str) -> list[ScoreRow]:
    return [row for row in found.rows[method] if row.level == "span"]


def _abstention(
    found: Collected, name: str, method: str, rows: Mapping[str, Sequence[ScoreRow]], seed: int
) -> Line:
    """Separate refusals from the statements of each column."""
    measure, statistic = _ABSTENTION[name]
    estimates = {}
    for column in COLUMNS:
        within = _within(rows[method], found.groups, {column, REFUSAL})
        count, statistics = together(within, TRACED)
        estimates[column] = bootstrap(count, statistics[statistic], draws=_DRAWS, seed=seed)
    return Line(measure, method, estimates)


def cross_fitted(found: Collected, rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Let rows abstain below the grounding that is best for the samples of the other half."""
    halves = {name: number % 2 for number, name in enumerate(found.samples)}
    ordinary = _within(rows, found.groups, {ALL, REFUSAL})
    best = [
        best_threshold(row for row in ordinary if halves[row.example] != half)[0] for half in (0, 1)
    ]
    return [
        dataclasses.replace(row, abstained=(row.grounding or 0.0) < best[halves[row.example]])
        for row in rows
    ]


def best_threshold(rows: Iterable[ScoreRow]) -> tuple[float, float]:
    """Return the grounding below which abstaining agrees best with the labels, and its F1.

    For ``SelectionConfig.min_grounding``; to be fitted on validation samples. It is the middle
    between two neighbouring groundings, and 0 (never abstain) where nothing is to be separated.
    """
    said = [row for row in rows if row.said]
    grounding = np.array([row.grounding or 0.0 for row in said])
    empty = np.array([not row.sources for row in said], dtype=bool)
    steps = np.unique(grounding)
    thresholds = [0.0, *((steps[1:] + steps[:-1]) / 2).tolist()]
    scored = [(abstention_f1(grounding < each, empty) or 0.0, each) for each in thresholds]
    f1, threshold = max(scored)
    return threshold, f1
