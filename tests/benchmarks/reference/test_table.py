"""The table of the benchmark on the reference world, from rows that are made up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from common.world_samples import (
    ALL,
    REFUSAL,
    Drawn,
)
from omnitrace import SelectionConfig
from omnitrace.evaluation.rows import ScoreRow
from omnitrace.reference.world import make_sample, validation_seed
from reference.rows import (
    BASELINES,
    ORACLE,
    Collected,
)
from reference.table import best_threshold, cross_fitted, lines_of

USUAL = SelectionConfig()
SIGNALS = ("attention-mean", "grad-sam")


def row(example: str, span: int, f1: float | None, **more: Any) -> ScoreRow:
    values: dict[str, float | None] = {"f1": f1, "cite_f1": f1, "time_f1": None, "auprc": f1}
    sources = more.pop("sources", 1)
    made = ScoreRow(
        example, span, None, "trace", None, "text", sources, 3, f1 is not None, False, 0.5,
        (0, 1, 1), values,
    )  # fmt: skip
    return dataclasses.replace(made, **more)


def with_rows(rows: Sequence[ScoreRow], other: Sequence[ScoreRow] = ()) -> Collected:
    made = Collected(rows={"one": list(rows), "gate off": list(other or rows)})
    for name in (*BASELINES, ORACLE):
        made.rows[name] = list(rows)
    for each in rows:
        kind = {REFUSAL} if not each.sources else {"text", ALL}
        made.groups[each.example, each.span] = frozenset(kind)
        made.samples.setdefault(each.example, Drawn(make_sample(validation_seed(0)), True))
    return made


def lines(made: Collected) -> dict[tuple[str, str], Any]:
    for rows in made.rows.values():
        rows += [
            dataclasses.replace(each, word=0, values={"top1": 1.0}, grounding=None)
            for each in rows
            if each.word is None
        ]
    gate = {"gate off": dataclasses.replace(USUAL, gate=False)}
    sections = lines_of(made, ["one"], gate, USUAL, seed=0)
    return {(line.measure, line.method): line.estimates for each in sections for line in each}


def test_means_are_over_statements_and_wrong_answers_are_told() -> None:
    rows = [row("a", 0, 1.0), row("a", 1, 0.5), row("b", 0, 0.0), row("b", 1, None)]
    other = [dataclasses.replace(each, values={**each.values, "f1": 0.5}) for each in rows[:3]]
    found = lines(with_rows(rows, [*other, rows[3]]))
    f1 = found["F1", "one"]["text"]
    assert (f1.value, f1.count, f1.undefined) == (0.5, 3, 1)
    assert f1.low == 0.0
    assert f1.high == 0.75
    assert found["F1", "one"]["image"].text() == "–"  # noqa: RUF001
    assert found["statements right", "sentence"]["all"].value == 0.75
    change = found["F1 change", "gate off"]["all"]
    assert change.value == pytest.approx(0.0)
    assert (change.low, change.high) == (-0.25, 0.5)


def test_refusals_are_told_apart_and_are_in_no_column() -> None:
    rows = [
        row("a", 0, 1.0, grounding=0.9),
        row("a", 1, 0.0, grounding=0.1, sources=0),
        row("b", 0, 1.0, grounding=0.3),
        row("b", 1, 0.0, grounding=0.4, sources=0, abstained=True),
    ]
    found = lines(with_rows(rows))
    assert found["F1", "one"]["all"].count == 2
    assert found["grounding AUROC", "one"]["text"].value == 0.75
    assert found["abstention F1", "one"]["text"].value == pytest.approx(2 / 3)
    assert found["grounding AUROC", "one"]["image"].text() == "–"  # noqa: RUF001


def test_the_threshold_is_fitted_to_the_other_half() -> None:
    def sample(name: str, low: float, high: float) -> list[ScoreRow]:
        refusal = row(name, 1, 0.0, grounding=low, sources=0)
        return [row(name, 0, 1.0, grounding=high), refusal]

    first, second = sample("a", 0.1, 0.5), sample("b", 0.6, 0.8)
    assert best_threshold(first) == (pytest.approx(0.3), 1.0)
    assert best_threshold([]) == (0.0, 0.0)
    made = with_rows([*first, *second])
    abstained = [each.abstained for each in cross_fitted(made, [*first, *second])]
    # Below 0.7, which suits "b", both of "a" abstain; below 0.3, neither of "b" does.
    assert abstained == [True, True, False, False]


# --- pictures
