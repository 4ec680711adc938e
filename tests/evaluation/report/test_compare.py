"""Comparisons of two evaluations: against differences computed by hand, and the rules of a gate."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.evaluation import Evaluation, evaluate
from omnitrace.evaluation.metrics.agreement import abstention_f1, micro_scores
from omnitrace.evaluation.metrics.bootstrap import Estimate, paired_difference
from omnitrace.evaluation.options import EvaluationOptions
from omnitrace.evaluation.report.compare import (
    Difference,
    check_rule,
    compare,
    parse_rule,
    table_of_differences,
)
from omnitrace.evaluation.report.export import to_document
from omnitrace.evaluation.report.results_file import EvaluationFile, read_evaluation
from omnitrace.evaluation.rows import TRACED, ScoreRow
from omnitrace.types import Effect
from tests.helpers.sample_labels import label
from tests.helpers.sample_traces import multimodal_trace

TRACE = multimodal_trace()
# The same answer, of which another signal says that everything comes from one unit.
WORSE = TRACE.with_effects(
    [{unit.id: Effect(float(unit.id == "video-1")) for unit in TRACE.units}] * 5
)


def written(evaluation: Evaluation, path: Path, **changes: Any) -> EvaluationFile:
    path.write_text(json.dumps({**to_document(evaluation), **changes}), encoding="utf-8")
    return read_evaluation(path)


@pytest.fixture
def a(tmp_path: Path) -> EvaluationFile:
    found = evaluate(
        {"a": TRACE, "b": TRACE}, [label("a"), label("b")], options=EvaluationOptions(draws=10)
    )
    return written(found, tmp_path / "a.json")


@pytest.fixture
def b(tmp_path: Path) -> EvaluationFile:
    found = evaluate(
        {"a": TRACE, "b": WORSE}, [label("a"), label("b")], options=EvaluationOptions(draws=10)
    )
    return written(found, tmp_path / "b.json")


def one(found: tuple[Difference, ...], metric: str, group: str = "all") -> Difference:
    (difference,) = [d for d in found if (d.metric, d.group) == (metric, group)]
    return difference


def spans(file: EvaluationFile) -> list[ScoreRow]:
    return [row for row in file.rows if row.method == TRACED and row.level == "span"]


def test_rows_come_back_as_they_were(a: EvaluationFile) -> None:
    made = evaluate(
        {"a": TRACE, "b": TRACE}, [label("a"), label("b")], options=EvaluationOptions(draws=10)
    )
    assert a.rows == made.rows
    assert a.labels == made.labels == {name: label(name).digest() for name in "ab"}
    assert a.signals == made.signals


def test_means_by_hand(a: EvaluationFile, b: EvaluationFile) -> None:
    found = compare(a, b, draws=200, seed=1)
    difference = one(found, "f1")
    sides = [[row.values["f1"] for row in spans(file)] for file in (a, b)]
    assert difference.first == pytest.approx(np.mean(sides[0]))  # type: ignore[arg-type]
    assert difference.second == pytest.approx(np.mean(sides[1]))  # type: ignore[arg-type]
    assert difference.estimate.value == pytest.approx(difference.second - difference.first)
    assert difference.estimate.value < 0
    expected = paired_difference(
        [sides[1][:5], sides[1][5:]], [sides[0][:5], sides[0][5:]], draws=200, seed=1
    )
    assert difference.estimate == expected
    assert one(found, "top1").estimate.undefined == 2  # the spans without evidence
    assert one(found, "f1", "modality: video").estimate.count == 2
    assert one(found, "auprc", "words").estimate.count == 2


def test_scores_of_all_spans_by_hand(a: EvaluationFile, b: EvaluationFile) -> None:
    found = compare(a, b, draws=50)
    micro = [micro_scores(row.counts for row in spans(file)).f1 for file in (a, b)]
    assert one(found, "micro_f1").estimate.value == pytest.approx(micro[1] - micro[0])
    assert one(found, "micro_f1").estimate.count == 2
    abstained = [
        abstention_f1([r.abstained for r in spans(f)], [not r.sources for r in spans(f)])
        for f in (a, b)
    ]
    assert (one(found, "abstention_f1").first, one(found, "abstention_f1").second) == tuple(
        abstained
    )
    assert one(found, "abstention_auroc").estimate.value == 0  # the grounding is the same


def test_only_spans_that_both_say_are_compared(a: EvaluationFile, b: EvaluationFile) -> None:
    unsaid = dict.fromkeys(spans(b)[0].values)
    rows = tuple(
        dataclasses.replace(row, said=False, values=unsaid, counts=(0, 0, 0))
        if (row.example, row.level, row.method) == ("b", "span", TRACED)
        else row
        for row in b.rows
    )
    found = compare(a, dataclasses.replace(b, rows=rows), draws=20)
    f1 = one(found, "f1").estimate
    assert (f1.value, f1.count, f1.undefined) == (0, 5, 5)
    assert one(found, "micro_f1").estimate.count == 1
    assert one(found, "micro_f1").estimate.value == 0


def test_nothing_differs_from_itself(a: EvaluationFile) -> None:
    for difference in compare(a, a, draws=20):
        if difference.estimate.count:
            assert difference.estimate.value == 0
            assert difference.estimate.low == difference.estimate.high == 0


def test_the_table(a: EvaluationFile, b: EvaluationFile) -> None:
    heading, *rows = table_of_differences(compare(a, b, draws=20))
    assert heading[:6] == ["group", "metric", "pairs", "left out", "A", "B"]
    assert all(len(row) == len(heading) for row in rows)
    assert ["all", "f1", "10", "0"] in [row[:4] for row in rows]
    assert ["all", "top1", "8", "2"] in [row[:4] for row in rows]
    assert ["all", "micro_f1", "2", ""] in [row[:4] for row in rows]
    assert ["words", "auprc", "2", "0"] in [row[:4] for row in rows]
    assert not [row for row in rows if row[0] == "words, modality: text"]  # all words are


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f1 < -0.02", ("f1", None, "all", "<", -0.02)),
        ("f1.high<0", ("f1", "high", "all", "<", 0.0)),
        (
            "  time_f1.low@modality: audio >= 1e-3 ",
            ("time_f1", "low", "modality: audio", ">=", 1e-3),
        ),
        ("my.metric > 1", ("my.metric", None, "all", ">", 1.0)),
        ("f1@category: a < b <= 2", ("f1", None, "category: a < b", "<=", 2.0)),
    ],
)
def test_rules(text: str, expected: tuple[object, ...]) -> None:
    rule = parse_rule(text)
    assert (rule.metric, rule.end, rule.group, rule.sign, rule.number) == expected


@pytest.mark.parametrize(
    "text", ["", "f1", "f1 < ", "f1 = 0", "f1 < low", "< 0", "f1 < nan", "f1 < inf"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(InputError, match="is no rule") as error:
        parse_rule(text)
    assert "METRIC.high" in error.value.legal


def test_a_rule_is_on_the_difference_or_on_an_end_of_its_interval() -> None:
    found = [Difference("all", "f1", 0.5, 0.4, Estimate(-0.1, -0.3, 0.1, 9))]
    for text, holds in {
        "f1 < -0.05": True,
        "f1 < -0.1": False,
        "f1 <= -0.1": True,
        "f1.high < 0": False,
        "f1.high > 0": True,
        "f1.low < -0.2": True,
    }.items():
        assert check_rule(parse_rule(text), found)[0] is holds, text


def test_rules_that_cannot_be_checked(a: EvaluationFile, b: EvaluationFile) -> None:
    found = compare(a, b, draws=20)
    assert check_rule(parse_rule("f1@modality:image,text < 1"), [
        dataclasses.replace(one(found, "f1"), group="modality: image, text")
    ])[0]  # fmt: skip
    with pytest.raises(InputError, match=r"no metric 'f_1' in the group 'all'.*mean 'f1'"):
        check_rule(parse_rule("f_1 < 0"), found)
    with pytest.raises(InputError, match=r"no group 'modality: vidio'.*mean 'modality: video'"):
        check_rule(parse_rule("f1@modality: vidio < 0"), found)
    with pytest.raises(InputError, match="cannot be checked: 'top1' is undefined"):
        check_rule(parse_rule("top1@modality: none < 0"), found)
    assert math.isnan(one(found, "top1", "modality: none").first)


def test_files_of_other_labels(tmp_path: Path, a: EvaluationFile) -> None:
    other = label("b").model_copy(update={"spans": label().spans[:2]})
    found = evaluate(
        {"a": TRACE, "b": TRACE}, [label("a"), other], options=EvaluationOptions(draws=10)
    )
    with pytest.raises(InputError, match="are of other labels: the labels of 'b' differ"):
        compare(a, written(found, tmp_path / "x.json"))
    found = evaluate({"c": TRACE}, [label("c")], options=EvaluationOptions(draws=10))
    with pytest.raises(InputError, match="are of other labels: all examples differ"):
        compare(a, written(found, tmp_path / "x.json"))
    found = evaluate({"a": TRACE}, [label("a")], options=EvaluationOptions(draws=10))
    fewer = written(found, tmp_path / "x.json")
    for pair in ((a, fewer), (fewer, a)):
        with pytest.raises(InputError, match=r"x.json' lacks 'b', which .*a.json' has"):
            compare(*pair)
    with pytest.raises(InputError, match=r"only one of .* has span 0 of 'a'"):
        compare(a, dataclasses.replace(a, rows=a.rows[1:]))
    with pytest.raises(InputError, match="has no rows of 'trace'"):
        compare(a, dataclasses.replace(a, rows=()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no evaluation"),
        ('{"format": "omnitrace-trace"}', "is no evaluation"),
        ('{"format": "omnitrace-evaluation", "version": 1}', "is of version 1 of its format"),
        ('{"format": "omnitrace-evaluation", "version": 2}', "signals: this field is required"),
    ],
)
def test_files_that_are_no_evaluation(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_evaluation(path)


def test_a_missing_file_and_a_broken_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_evaluation(tmp_path / "none.json")
    made = evaluate({"a": TRACE}, [label("a")], options=EvaluationOptions(draws=10))
    rows = [{**row, "f1": "high"} for row in to_document(made)["rows"]]
    with pytest.raises(InputError, match=r"rows\[0\].f1: .*not \"high\""):
        written(made, tmp_path / "a.json", rows=rows)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 10**30, 10**400, -1, 1.5, True], ids=range(7))
@pytest.mark.parametrize("field", ["common_units", "sources", "span"])
def test_counts_of_a_row_are_counts(tmp_path: Path, field: str, number: object) -> None:
    made = evaluate({"a": TRACE}, [label("a")], options=EvaluationOptions(draws=10))
    rows = [{**row, field: number} for row in to_document(made)["rows"]]
    with pytest.raises(InputError, match=rf"rows\[0\].{field}"):
        written(made, tmp_path / "a.json", rows=rows)


@pytest.mark.timeout(30)
def test_a_short_text_that_would_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"rows": [' + "[]," * 10_000_000 + "[]]}", encoding="ascii")
    with pytest.raises(InputError, match="holds more than 6000000 values"):
        read_evaluation(path)
