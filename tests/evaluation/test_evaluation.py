"""Whole evaluations of traces made by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.evaluation import Evaluation, evaluate
from omnitrace.evaluation.examples import LabelledItem, labelled_items
from omnitrace.evaluation.labels.io import LabelError
from omnitrace.evaluation.labels.schema import ImageSource, TextSource, TimeSource
from omnitrace.evaluation.metrics.spans import side_by_side
from omnitrace.evaluation.options import EvaluationOptions, ModelAccess
from omnitrace.evaluation.report.export import notes_of, table_of, to_csv, to_document
from omnitrace.evaluation.rows import TRACED, ScoreRow, score
from omnitrace.trace.trace import Trace
from omnitrace.types import Effect
from tests.helpers.sample_labels import EVIDENCE, WORD, label, span
from tests.helpers.sample_traces import multimodal_trace, text_trace

TRACE = multimodal_trace()
BASELINES = ["random", "all", "longest", "none", "position"]


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate({"harbour": TRACE}, [label()], options=EvaluationOptions(draws=50))


def traced(evaluation: Evaluation, level: str = "span") -> list[ScoreRow]:
    return [row for row in evaluation.rows if row.method == TRACED and row.level == level]


def chosen(index: int, trace: Trace = TRACE) -> list[str]:
    return [support.unit.id for support in trace.spans[index].supports]


def test_what_the_trace_made_by_hand_chose() -> None:
    # The expected values below are computed by hand from these choices.
    assert [set(chosen(i)) for i in range(5)] == [
        {"image-4", "image-8", "text-2"},
        {"text-3"},
        {"audio-2", "audio-5"},
        {"video-3", "video-4", "text-4"},
        set(),
    ]


def test_spans_by_hand(found: Evaluation) -> None:
    rows = traced(found)
    assert [row.modality for row in rows] == ["mixed", "text", "audio", "video", "none"]
    assert [row.sources for row in rows] == [2, 1, 1, 1, 0]
    assert [row.counts for row in rows] == [(2, 3, 2), (1, 1, 1), (1, 2, 1), (2, 3, 2), (0, 0, 0)]
    assert [row.values["f1"] for row in rows] == pytest.approx([0.8, 1, 2 / 3, 0.8, 1])
    assert [row.values["precision"] for row in rows] == pytest.approx([2 / 3, 1, 0.5, 2 / 3, 1])
    assert [row.values["recall"] for row in rows] == [1, 1, 1, 1, 1]
    # Seconds 2-4 and 8-10 chosen, second 2 labelled; all of 4-8 right in the video.
    assert [row.values["time_f1"] for row in rows] == [
        None, None, pytest.approx(2 / 5), 1.0, None,
    ]  # fmt: skip
    assert rows[2].values["interval_iou"] == pytest.approx(0.9 / 4)
    # Two regions of 300 by 300 pixels, and 110 by 240 pixels labelled: 140 high in the first.
    assert rows[0].values["box_iou"] == pytest.approx(110 * 240 / (2 * 300 * 300))
    assert [row.values["top1"] for row in rows[:4]] == [
        float(chosen(i)[0] in names)
        for i, names in enumerate(
            [{"image-4", "text-2"}, {"text-3"}, {"audio-2"}, {"video-3", "video-4"}]
        )
    ]
    assert rows[4].values["top1"] is rows[4].values["auprc"] is None
    assert [row.abstained for row in rows] == [False, False, False, False, True]
    assert [row.grounding for row in rows] == [s.grounding for s in TRACE.spans]


def test_the_word(found: Evaluation) -> None:
    (row,) = traced(found, "word")
    assert (row.span, row.word, row.modality) == (1, 0, "text")
    assert row.values == {"top1": 1.0, "auprc": 1.0}
    (item,) = [item for item in labelled_items(label(), TRACE) if item.word is not None]
    words = TRACE.text[TRACE.tokens[item.tokens[0]].start : TRACE.tokens[item.tokens[1] - 1].end]
    assert words.strip() == WORD
    scores = TRACE.unit_scores()[slice(*item.tokens)].sum(axis=0)
    assert np.array_equal(item.masses, scores)


def test_figures(found: Evaluation) -> None:
    assert found.figure("f1").value == pytest.approx((0.8 + 1 + 2 / 3 + 0.8 + 1) / 5)
    assert found.figure("f1").count == 5
    assert (found.figure("top1").count, found.figure("top1").undefined) == (4, 1)
    assert found.figure("f1", group="modality: video").value == pytest.approx(0.8)
    assert found.figure("f1", group="sources: 0").value == 1
    assert found.figure("f1", group="sources: 2+").value == pytest.approx(0.8)
    assert found.figure("f1", group="category: closing").count == 1
    assert found.figure("micro_f1").value == pytest.approx(2 * 6 / (9 + 6))
    assert found.figure("abstention_f1").value == 1
    assert found.figure("abstention_auroc").value == 1
    assert found.figure("auprc", level="word").value == 1
    with pytest.raises(InputError, match="there is no figure 'f2' of 'trace'"):
        found.figure("f2")


def test_baselines_are_beside(found: Evaluation) -> None:
    methods = list(dict.fromkeys(row.method for row in found.rows))
    assert methods == [TRACED, *BASELINES]
    everything = [row for row in found.rows if row.method == "all" and row.level == "span"]
    assert [row.counts for row in everything] == [
        (true, len(TRACE.units), true) for true in (2, 1, 1, 2, 0)
    ]
    nothing = [row for row in found.rows if row.method == "none" and row.level == "span"]
    assert [row.values["f1"] for row in nothing] == [0, 0, 0, 0, 1]
    assert found.figure("abstention_f1", "none").value == pytest.approx(2 / 6)
    # With a single example the prior has seen nothing.
    prior = [row.counts[1] for row in found.rows if row.method == "position"]
    assert not any(prior)
    assert {
        row.method
        for row in evaluate(
            {"harbour": TRACE}, [label()], options=EvaluationOptions(baselines=False)
        ).rows
    } == {TRACED}


def test_the_prior_leaves_the_example_out() -> None:
    traces = {"a": TRACE, "b": TRACE}
    made = evaluate(
        traces,
        [label("a"), label("b", [span("A fog horn", EVIDENCE[2])])],
        options=EvaluationOptions(draws=10),
    )
    rows = {(r.example, r.span): r for r in made.rows if r.method == "position" and r.word is None}
    assert rows["a", 2].values["f1"] == 1  # b was seen, where audio-2 is true
    assert rows["a", 1].values["f1"] == 0


def test_embeddings_are_a_baseline_where_given() -> None:
    made = evaluate(
        {"harbour": TRACE},
        [label()],
        options=EvaluationOptions(draws=10),
        models=ModelAccess(embeddings=np.ones((50_000, 2))),
    )
    rows = [row for row in made.rows if row.method == "embedding"]
    assert len(rows) == len(traced(made)) + 1
    assert {row.counts[1] for row in rows if row.word is None} == {1}


def test_effects_rank_where_a_span_signal_gave_them() -> None:
    effects = [{unit.id: Effect(float(unit.id == "video-1")) for unit in TRACE.units}] * 5
    made = evaluate(
        {"harbour": TRACE.with_effects(effects)}, [label()], options=EvaluationOptions(draws=10)
    )
    rows = traced(made)
    assert [row.counts[1] for row in rows] == [1] * 5
    assert rows[3].values["top1"] == 0
    assert rows[3].values["auprc"] == pytest.approx(2 / len(TRACE.units))


def test_spans_that_are_not_said_are_left_out_and_counted() -> None:
    trace = text_trace(["The ferry is red."], "What?", "The ferry is red. I do not know.")
    made_of = label().model_copy(
        update={"response": "The ferry is blue. The ferry is red.", "spans": ()}
    )
    wrong, right = (
        span(text, [TextSource(message=0, part=0, quote="ferry")], response=made_of.response)
        for text in ("The ferry is blue.", "The ferry is red.")
    )
    found = evaluate(
        {"harbour": trace},
        [made_of.model_copy(update={"spans": (wrong, right)})],
        options=EvaluationOptions(draws=10),
    )
    assert found.counts.unsaid == 1
    assert [row.said for row in traced(found)] == [False, True]
    assert not any(traced(found)[0].values.values())
    for method in (TRACED, *BASELINES):
        assert (found.figure("f1", method).count, found.figure("f1", method).undefined) == (1, 1)
    assert "1 labelled spans are not said by the traces and are left out" in notes_of(found)


def test_sources_that_no_unit_names_are_misses() -> None:
    question = TextSource(message=0, part=4, quote="the lighthouse")  # the instruction: no unit
    spans = [
        span("I hope that this answers your question.", [question]),
        span("The ferry Alma leaves at 18:40", [question, EVIDENCE[1][0]]),
    ]
    found = evaluate({"harbour": TRACE}, [label(spans=spans)], options=EvaluationOptions(draws=10))
    assert found.counts.unreachable == 2
    rows = traced(found)
    assert rows[0].values["f1"] == 0  # nothing was chosen, but something should have been
    assert (rows[0].values["top1"], rows[0].values["auprc"]) == (0, None)
    assert rows[1].values["recall"] == 0.5


def test_a_whole_image_and_both_streams() -> None:
    spans = [
        span("The lighthouse is a red tower", [ImageSource(message=0, part=1)]),
        span("The video shows the boat", [TimeSource(message=0, part=3, start=4, end=8)]),
    ]
    rows = traced(
        evaluate({"harbour": TRACE}, [label(spans=spans)], options=EvaluationOptions(draws=10))
    )
    assert rows[0].values["box_iou"] == pytest.approx(2 * 300 * 300 / (1200 * 900))
    assert rows[1].modality == "video"


def test_parts_are_put_side_by_side() -> None:
    first, second = (0, 1), (0, 2)
    said, true = side_by_side(
        [(first, (0, 0, 2.5, 1)), (second, (0, 0, 2, 1))], [(second, (1, 0, 2, 1))]
    )
    assert said == [(0, 0, 2.5, 1), (4, 0, 6, 1)]
    assert true == [(5, 0, 6, 1)]
    assert side_by_side([], []) == ([], [])


def test_paired_differences(found: Evaluation) -> None:
    assert found.difference("f1", against="none").value == pytest.approx(
        found.figure("f1").value - 0.2
    )
    assert found.difference("f1", found).value == 0
    other = evaluate({"b": TRACE}, [label("b")], options=EvaluationOptions(draws=10))
    with pytest.raises(InputError, match="only one of the two evaluations has 'b', 'harbour'"):
        found.difference("f1", other)


def test_bias(found: Evaluation) -> None:
    bias = found.bias
    order = {unit.id: (i + 0.5) / len(TRACE.units) for i, unit in enumerate(TRACE.units)}
    assert bias.chosen is not None
    assert bias.chosen.positions == pytest.approx(
        sorted(order[name] for i in range(5) for name in chosen(i))
    )
    assert bias.labelled is not None
    assert len(bias.labelled.positions) == 6
    # Four spans with evidence, four modalities.
    assert sum(each.count for each in bias.calibration) == 16
    assert bias.calibration_error is not None
    assert 0 < bias.calibration_error < 0.2


def test_traces_are_taken_one_after_the_other() -> None:
    def lazily() -> Iterator[tuple[str, Trace]]:
        for name in ("a", "b", "other"):
            yield name, TRACE

    found = evaluate(
        lazily(), [label("a"), label("b"), label("c")], options=EvaluationOptions(draws=10)
    )
    assert (found.counts.examples, found.counts.spans, found.counts.words) == (2, 10, 2)
    assert (found.counts.unlabelled, found.counts.untraced) == (("other",), ("c",))
    notes = notes_of(found)
    assert "1 labels have no trace: c" in notes
    assert "1 traces have no label: other" in notes


def test_labels_that_do_not_fit_their_request() -> None:
    wrong = label("b", [span("A fog horn", [TimeSource(message=0, part=2, start=1, end=99)])])
    traces = {"a": TRACE, "b": TRACE}
    with pytest.raises(LabelError, match=r"labels, spans\[0\].sources\[0\].end: 99 s is beyond"):
        evaluate(traces, [label("a"), wrong])
    found = evaluate(
        traces, [label("a"), wrong], options=EvaluationOptions(skip_invalid=True, draws=10)
    )
    assert found.counts.examples == 1
    assert len(found.counts.invalid) == 1
    with pytest.raises(InputError, match="no label is left: 1 mistakes"):
        evaluate(traces, [wrong], options=EvaluationOptions(skip_invalid=True))


def test_nothing_to_evaluate() -> None:
    with pytest.raises(InputError, match="labels are of 'x', the traces are 'harbour'"):
        evaluate({"harbour": TRACE}, [label("x")])
    with pytest.raises(InputError, match="two labels have the id 'x'"):
        evaluate({"x": TRACE}, [label("x"), label("x")])
    with pytest.raises(InputError, match="two traces have the id 'x'"):
        evaluate([("x", TRACE), ("x", TRACE)], [label("x")])


def test_the_document_and_the_rows_as_csv(found: Evaluation) -> None:
    document = json.loads(json.dumps(to_document(found), allow_nan=False))
    assert (document["format"], document["version"]) == ("omnitrace-evaluation", 2)
    assert len(document["rows"]) == len(found.rows)
    assert document["signals"] == ["attention-mean"]
    rows = list(csv.DictReader(to_csv(found).splitlines()))
    assert len(rows) == len(found.rows)
    assert float(rows[0]["f1"]) == pytest.approx(0.8)
    assert rows[0]["time_f1"] == ""
    assert (rows[0]["common_units"], rows[0]["chosen_units"], rows[0]["true_units"]) == (
        "2", "3", "2",
    )  # fmt: skip
    assert document["rows"][0].keys() >= rows[0].keys() - {"auprc"}


def test_the_table(found: Evaluation) -> None:
    heading, *rows = table_of(found)
    assert heading[:4] == ["method", "group", "count", "F1"]
    assert all(len(row) == len(heading) for row in rows)
    assert rows[0][:2] == [TRACED, "spans"]
    assert rows[0][3].startswith("0.85")
    shown = [row[1] for row in rows if row[0] == TRACED]
    assert "spans, category: closing" in shown
    assert "words, modality: text" not in shown  # all words are of text
    assert [row[0] for row in rows if row[1] == "spans, paired"] == [
        f"{TRACED} − {name}"  # noqa: RUF001
        for name in BASELINES
    ]


def test_an_answer_that_was_not_said_scores_nothing() -> None:
    item = next(labelled_items(label(), TRACE))
    row = score(dataclasses.replace(item, prediction=None), TRACED, None)
    assert isinstance(item, LabelledItem)
    assert not row.said
    assert set(row.values.values()) == {None}
