"""The second annotator as a method: agreement through the same units."""

from __future__ import annotations

import numpy as np
import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.baselines.second_annotator import HUMAN, second_opinions
from omnitrace.evaluation.evaluation import Evaluation, evaluate
from omnitrace.evaluation.labels.io import LabelError
from omnitrace.evaluation.labels.schema import ImageSource, Label, TextSource, TimeSource
from omnitrace.evaluation.options import EvaluationOptions
from omnitrace.evaluation.report.export import notes_of, table_of
from omnitrace.evaluation.rows import ScoreRow
from tests.helpers.sample_labels import EVIDENCE, WORD, label, span, word
from tests.helpers.sample_traces import multimodal_trace

TRACE = multimodal_trace()
INSTRUCTION = TextSource(message=0, part=4, quote="the lighthouse")  # of which there is no unit


def evaluated(second: Label, first: Label | None = None) -> Evaluation:
    return evaluate(
        {"harbour": TRACE}, [first or label()], second=[second], options=EvaluationOptions(draws=10)
    )


def human(evaluation: Evaluation, level: str = "span") -> list[ScoreRow]:
    return [row for row in evaluation.rows if row.method == HUMAN and row.level == level]


def test_whoever_agrees_is_right() -> None:
    found = evaluated(label())
    for metric in ("f1", "top1", "auprc", "micro_f1", "abstention_f1"):
        assert found.figure(metric, HUMAN).value == 1, metric
    assert [row.values for row in human(found, "word")] == [{"top1": 1.0, "auprc": 1.0}]
    assert found.counts.single == 0
    assert [row[0] for row in table_of(found) if row[1] == "spans, paired"][-1].endswith(HUMAN)


def test_only_units_matter() -> None:
    # Other boxes and seconds of the same units; and the last sentence is said to have evidence.
    texts = [s.text for s in label().spans]
    second = [
        span(texts[0], [ImageSource(message=0, part=1, box=(970, 170, 1060, 390)), EVIDENCE[0][1]]),
        span(texts[1], EVIDENCE[2]),
        span(texts[2], [TimeSource(message=0, part=2, start=2.0, end=3.0), EVIDENCE[1][0]]),
        span(texts[4], EVIDENCE[1]),
    ]
    found = evaluated(label(spans=second))
    rows = human(found)
    assert [row.values["f1"] for row in rows] == [1, 0, pytest.approx(2 / 3), None, 0]
    assert [row.said for row in rows] == [True, True, True, False, True]
    assert found.counts.single == 1
    assert found.figure("f1", HUMAN).count == 4
    assert any("1 labelled spans have no second label" in line for line in notes_of(found))


def test_sources_without_a_unit() -> None:
    text = "The ferry Alma leaves at 18:40"
    first = label(spans=[span(text, [EVIDENCE[1][0], INSTRUCTION])])
    assert human(evaluated(first, first))[0].values["f1"] == 1
    sure = TextSource(message=0, part=4, quote="safe to sail")
    other = label(spans=[span(text, [EVIDENCE[1][0], sure])])
    assert human(evaluated(other, first))[0].values["f1"] == pytest.approx(2 / 4)


def test_another_response_is_matched_by_its_words() -> None:
    response = "Well. " + label().spans[1].text
    second = Label(
        version=1,
        id="harbour",
        response=response,
        spans=(
            span(
                label().spans[1].text,
                EVIDENCE[1],
                response,
                words=(word(WORD, EVIDENCE[2], response),),
            ),
        ),
    )
    opinions = list(second_opinions(label(), second, TRACE))
    assert [opinion is not None for opinion in opinions] == [False, True, True, False, False, False]
    assert opinions[1] is not None
    assert opinions[1].chosen == {"text-3"}
    assert np.flatnonzero(opinions[1].scores).tolist() == [
        [unit.id for unit in TRACE.units].index("text-3")
    ]


def test_second_labels_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="labels none of the spans"):
        evaluated(label("other"))
    wrong = label(spans=[span("A fog horn", [TimeSource(message=0, part=2, start=1, end=99)])])
    with pytest.raises(LabelError, match="99 s is beyond"):
        evaluated(wrong)
