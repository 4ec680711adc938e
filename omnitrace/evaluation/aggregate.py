"""Average rows: over all of them, by modality, by number of sources and by category."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from omnitrace.evaluation.metrics.agreement import abstention_auroc, abstention_f1, micro_scores
from omnitrace.evaluation.metrics.bootstrap import Estimate, bootstrap, bootstrap_mean
from omnitrace.evaluation.metrics.faithfulness import share_of_oracle
from omnitrace.evaluation.metrics.labelled_causal import SHARES
from omnitrace.evaluation.metrics.registry import TOGETHER
from omnitrace.evaluation.rows import TRACED, ScoreRow

__all__ = ["ALL", "Figure", "Statistic", "by_example", "figures_of", "groups_of", "together"]

ALL: Final = "all"


#: A figure of the examples whose indices are given, some of them several times.
Statistic: TypeAlias = Callable[[np.ndarray], float | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate of a metric: of which method, for spans or words, in which group of them."""

    method: str
    level: str
    group: str
    metric: str
    estimate: Estimate


def groups_of(row: ScoreRow) -> list[str]:
    """Return the groups that a row is in: "all", "modality: …", "sources: …", "category: …"."""
    number = str(row.sources) if row.sources < 2 else "2+"
    groups = [ALL, f"modality: {row.modality}", f"sources: {number}"]
    return groups if row.category is None else [*groups, f"category: {row.category}"]


def figures_of(
    rows: Iterable[ScoreRow],
    *,
    whole: Collection[str] = TOGETHER,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Figure, ...]:
    """Estimate every metric of every method in every group, with intervals over examples.

    Beside the means over spans, all spans of a method together give the micro scores and, as far
    as spans were said, the abstention: its F1, and of the trace the AUROC of its grounding; and
    where the oracle's LDS was computed, the share of it; of these, the ones that ``whole`` names.
    """
    sorted_rows: dict[tuple[str, str, str], list[ScoreRow]] = {}
    for row in rows:
        for group in groups_of(row):
            sorted_rows.setdefault((row.method, row.level, group), []).append(row)
    found = []
    for (method, kind, group), members in sorted_rows.items():
        for metric in members[0].values:
            groups = [[row.values[metric] for row in rows] for rows in by_example(members)]
            estimate = bootstrap_mean(groups, level=level, draws=draws, seed=seed)
            found.append(Figure(method, kind, group, metric, estimate))
        if kind == "span" and group == ALL:
            count, statistics = together(members, method)
            for metric in whole:
                if metric not in statistics:
                    continue
                statistic = statistics[metric]
                estimate = bootstrap(count, statistic, level=level, draws=draws, seed=seed)
                found.append(Figure(method, kind, group, metric, estimate))
    return tuple(found)


def by_example(rows: Iterable[ScoreRow]) -> list[list[ScoreRow]]:
    """Group rows by their example, in the order in which examples come."""
    groups: dict[str, list[ScoreRow]] = {}
    for row in rows:
        groups.setdefault(row.example, []).append(row)
    return list(groups.values())


def together(rows: Sequence[ScoreRow], method: str) -> tuple[int, dict[str, Statistic]]:
    """Return what is no mean over spans: the micro scores, the abstention, shares of the oracle.

    Parameters
    ----------
    rows:
        The span rows of one method; those of spans that were not said are left out.
    method:
        The method; only the trace has a grounding, and so an AUROC of it.

    Returns
    -------
    tuple
        The number of examples that say anything, and each statistic by its name: given int
        ``[drawn]``, the indices of examples (in the order of the rows), its value on their spans.
    """
    examples = by_example([row for row in rows if row.said])
    sums = np.array([np.sum([row.counts for row in each], axis=0) for each in examples])

    def micro(name: str) -> Statistic:
        def statistic(picks: np.ndarray) -> float | None:
            return float(getattr(micro_scores([tuple(sums[picks].sum(axis=0))]), name))

        return statistic

    abstained = [np.array([row.abstained for row in each]) for each in examples]
    empty = [np.array([not row.sources for row in each]) for each in examples]
    grounding = [np.array([row.grounding or 0.0 for row in each]) for each in examples]

    def abstention(picks: np.ndarray) -> float | None:
        return abstention_f1(_drawn(abstained, picks), _drawn(empty, picks))

    def separation(picks: np.ndarray) -> float | None:
        return abstention_auroc(_drawn(grounding, picks), _drawn(empty, picks))

    statistics = {f"micro_{name}": micro(name) for name in ("precision", "recall", "f1")}
    statistics["abstention_f1"] = abstention
    if method == TRACED:
        statistics["abstention_auroc"] = separation
    for name, (part, whole) in SHARES.items():
        if examples and {part, whole} <= examples[0][0].values.keys():
            statistics[name] = _share(examples, part, whole)
    return len(examples), statistics


def _share(examples: Sequence[Sequence[ScoreRow]], part: str, whole: str) -> Statistic:
    """Return the quotient of two metrics' means over the spans where both are defined."""
    pairs = [
        np.array([[row.values[name] for name in (part, whole)] for row in each], dtype=np.float64)
        for each in examples
    ]

    def statistic(picks: np.ndarray) -> float | None:
        drawn = _drawn(pairs, picks)
        share = share_of_oracle(drawn[:, 0], drawn[:, 1])
        return None if math.isnan(share) else share

    return statistic


def _drawn(values: Sequence[np.ndarray], picks: np.ndarray) -> np.ndarray:
    return np.concatenate([values[i] for i in picks])
