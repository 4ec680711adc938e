"""Metrics of measured effects: against a planted linear model, and through ``evaluate``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, Trace, Tracer
from omnitrace._utils.files import write_text
from omnitrace.ablation import MaskDealer, leave_one_out, span_logprobs
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.engine import rescore
from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.evaluation import evaluate
from omnitrace.evaluation.examples import LabelledItem, labelled_items
from omnitrace.evaluation.faithfulness_run import FaithfulnessOptions, faithfulness
from omnitrace.evaluation.labels.schema import Label, TextSource
from omnitrace.evaluation.measured_effects import MeasuredResponse, measure_by
from omnitrace.evaluation.metrics.faithfulness import lds
from omnitrace.evaluation.metrics.labelled_causal import (
    CAUSAL_METRICS,
    DEFAULT,
    SHARES,
    needed_masks,
)
from omnitrace.evaluation.options import EvaluationOptions, ModelAccess
from omnitrace.evaluation.report.compare import check_rule, compare, parse_rule
from omnitrace.evaluation.report.export import notes_of, table_of, to_document
from omnitrace.evaluation.report.html import render_page
from omnitrace.evaluation.report.results_file import EvaluationFile, read_evaluation
from omnitrace.evaluation.unit_scores import span_scores
from omnitrace.signals.base import SpanSignal
from omnitrace.types import Effect, Span
from tests.helpers.known_evidence import ANSWER, FACTS, MESSAGES
from tests.helpers.sample_labels import label, span
from tests.helpers.sample_traces import multimodal_trace

TRACE = multimodal_trace()
WEIGHTS = np.random.default_rng(0).normal(size=(len(TRACE.token_ids), len(TRACE.units)))


class Linear:
    """Token t loses WEIGHTS[t, k] nats without unit k; it notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        self.asked.append(masks)
        return masks @ WEIGHTS.T


def planted(
    run: Callable[[np.ndarray], np.ndarray], **options: Any
) -> tuple[LabelledItem, MeasuredResponse]:
    sizes = [len(unit.positions) for unit in TRACE.units]
    measured = MeasuredResponse(run, sizes, "harbour", **options)
    first = next(iter(labelled_items(label(), TRACE)))
    return dataclasses.replace(first, tokens=(3, 7), measured=measured), measured


@pytest.mark.parametrize("negated", [False, True])
def test_the_metrics_are_those_of_the_library(negated: bool) -> None:
    item, measured = planted(Linear())
    truth = WEIGHTS[3:7].sum(axis=0)
    scores = -truth if negated else truth + 0.3 * np.random.default_rng(1).normal(size=len(truth))
    found = faithfulness(
        lambda masks: masks @ truth[:, None],
        {"mine": scores[None]},
        MaskDealer(measured.sizes, example="harbour"),
        span_tokens=np.array([4]),
        options=FaithfulnessOptions(oracle=256, curves=True, controls=False),
    )
    expected = {name: values[0] for name, values in found.values["mine"].items()}
    expected |= {f"oracle-{name}": values[0] for name, values in found.oracle.items()}
    expected |= {f"comprehensiveness-{k}": expected[f"top-{k}-drop"] for k in (1, 3, 5)}
    assert set(CAUSAL_METRICS) == set(expected) | {"r-squared-of-effects"}
    for name, value in expected.items():
        said = CAUSAL_METRICS[name](item, Prediction(scores, frozenset()))
        assert said == pytest.approx(value, abs=1e-9), name


def test_the_true_weights_of_a_planted_model_are_found_faithful() -> None:
    item, measured = planted(Linear())
    truth = WEIGHTS[3:7].sum(axis=0)
    ordered = -np.sort(-truth)
    expected = {"lds": 1.0, "size-controlled-lds": 1.0, "r-squared": 1.0, "oracle-lds": 1.0}
    for k in (1, 3, 5):
        expected[f"top-{k}-drop"] = expected[f"comprehensiveness-{k}"] = ordered[:k].sum()
        expected[f"top-{k}-drop-per-token"] = ordered[:k].sum() / 4
        expected[f"sufficiency-{k}"] = ordered[k:].sum()
    for name, value in expected.items():
        said = CAUSAL_METRICS[name](item, Prediction(truth, frozenset()))
        assert said == pytest.approx(value), name
    assert CAUSAL_METRICS["lds"](item, Prediction(-truth, frozenset())) == pytest.approx(-1.0)
    assert CAUSAL_METRICS["lds"](item, Prediction(0 * truth, frozenset())) is None
    assert measured.plain.shape == measured.sized.shape == (64, len(TRACE.units))


def test_r_squared_of_effects_takes_them_as_they_are() -> None:
    item, _ = planted(Linear())
    truth = WEIGHTS[3:7].sum(axis=0)
    by_effects = dataclasses.replace(
        item, effects=True, prediction=Prediction(0.5 * truth, frozenset())
    )
    assert by_effects.prediction is not None
    missed = (0.5 * truth) @ (0.5 * truth) / ((truth - truth.mean()) ** 2).sum()
    raw, fitted = CAUSAL_METRICS["r-squared-of-effects"], CAUSAL_METRICS["r-squared"]
    assert raw(by_effects, by_effects.prediction) == pytest.approx(1 - missed)
    assert fitted(by_effects, by_effects.prediction) == pytest.approx(1.0)
    # Of baselines, and of masses, the scores are no effects.
    assert raw(by_effects, Prediction(truth, frozenset())) is None
    assert raw(dataclasses.replace(by_effects, effects=False), by_effects.prediction) is None


def test_r_squared_is_undefined_where_nothing_has_an_effect() -> None:
    truth = WEIGHTS[3:7].sum(axis=0)
    for scale, undefined in ((1e-4, True), (0.1, False)):

        def run(masks: np.ndarray, scale: float = scale) -> np.ndarray:
            return scale * (masks @ WEIGHTS.T)

        item, _ = planted(run)
        item = dataclasses.replace(item, effects=True, prediction=Prediction(truth, frozenset()))
        assert item.prediction is not None
        for name in ("r-squared", "r-squared-of-effects"):
            assert (CAUSAL_METRICS[name](item, item.prediction) is None) == undefined


def test_what_the_oracle_is_fitted_on_judges_nothing() -> None:
    _, measured = planted(Linear())
    assert len(measured.fit) == 256
    fitted = {mask.tobytes() for mask in measured.fit}
    judging = np.concatenate([measured.plain, measured.sized])
    assert not any(mask.tobytes() in fitted for mask in judging)


def test_all_masks_are_known_before_the_first_one_is_measured() -> None:
    run = Linear()
    item, measured = planted(run)
    prediction = Prediction(WEIGHTS[5], frozenset())
    every = needed_masks(CAUSAL_METRICS, item, prediction)
    missing = measured.missing(every)
    assert run.asked == []
    measured.prepare(every)
    (asked,) = run.asked
    assert len(asked) == len(missing) == len(np.unique(asked, axis=0))
    for metric in CAUSAL_METRICS.values():
        metric(item, prediction)
    assert len(run.asked) == 1
    assert not len(measured.missing(every))
    cheap = needed_masks(["lds", "f1"], item, prediction)
    assert (cheap == measured.plain).all()
    unmeasured = dataclasses.replace(item, measured=None)
    assert needed_masks(CAUSAL_METRICS, unmeasured, prediction).shape == (0, len(TRACE.units))


def test_few_units_get_as_many_masks_as_there_are() -> None:
    few = MeasuredResponse(Linear(), [5, 5, 5, 5], "few")
    assert 4 <= len(few.plain) < 8
    none = MeasuredResponse(Linear(), [5, 5], "two")
    assert none.plain.shape == none.fit.shape == (0, 2)
    item, _ = planted(lambda masks: masks @ WEIGHTS[:, :2].T)
    two = dataclasses.replace(item, units=TRACE.units[:2], measured=none)
    for name in ("lds", "size-controlled-lds", "oracle-lds", "r-squared"):
        assert CAUSAL_METRICS[name](two, Prediction(np.array([1.0, 2.0]), frozenset())) is None
    for undone in (
        dataclasses.replace(item, measured=None),
        dataclasses.replace(item, units=(), measured=MeasuredResponse(Linear(), [], "none")),
    ):
        for metric in CAUSAL_METRICS.values():
            assert metric(undone, Prediction(np.zeros(len(undone.units)), frozenset())) is None


def test_no_mask_runs_twice(
    reference: Tracer, trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ResponseScorer] = []
    scorer_of = rescore.scorer_of

    def noted(*arguments: Any, **options: Any) -> ResponseScorer:
        made.append(scorer_of(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(rescore, "scorer_of", noted)
    measure = measure_by(reference, masks=8, cache=tmp_path)
    measured = measure("weights", trace)
    assert made == []
    units = len(trace.units)
    first = measured.logprobs(measured.plain, (0, 3))
    (only,) = made
    asked = np.concatenate([measured.plain, [[True] * units], [[False] * units]])
    assert only.forwards == len(np.unique(asked, axis=0)) - 1  # all units: when it was made
    again = measured.logprobs(np.concatenate([asked[:8], leave_one_out(units)]), (0, 3))
    (only,) = made
    asked = np.concatenate([asked, leave_one_out(units)])
    assert only.forwards == len(np.unique(asked, axis=0)) - 1  # all units: when it was made
    assert (again[:8] == first).all()
    # Nor for another signal's trace of the same answer, nor in another run with the same folder.
    other = Tracer(adapter=reference.adapter, signal="attention-last").replay(MESSAGES, ANSWER)
    for each in (measure, measure_by(reference, masks=8, cache=tmp_path)):
        assert (each("weights", other).logprobs(asked[:8], (0, 3)) == first).all()
    assert made == [only]
    assert only.forwards == len(np.unique(asked, axis=0)) - 1  # all units: when it was made


def weights_label(response: str) -> Label:
    sources = [TextSource(message=0, part=0, quote="The lamp weighs seven grams.")]
    sentence = "The lamp weighs seven grams."
    return Label(
        version=1,
        id="weights",
        response=response,
        spans=(span(sentence, sources, response),),
    )


@pytest.fixture(scope="module")
def trace(reference: Tracer) -> Trace:
    return reference.replay(MESSAGES, ANSWER)


def test_evaluate_measures_with_a_model(reference: Tracer, trace: Trace) -> None:
    assert FACTS.count(".") == len(trace.units)
    measure = measure_by(reference, masks=8)
    told: list[tuple[int, int]] = []
    found = evaluate(
        {"weights": trace},
        [weights_label(trace.text)],
        progress=lambda *numbers: told.append(numbers),
        options=EvaluationOptions(metrics=["lds", "top-1-drop", "f1"], draws=10),
        models=ModelAccess(measure=measure),
    )
    assert found.effects == {"operator": "attention", "masks": 8, "seed": 0}
    (before, total), after = told
    assert before == 0
    assert after == (total, total)
    assert total > 8
    top = int(span_scores(trace)[0].argmax())
    drops = reference.effects(trace, leave_one_out(len(trace.units))).drops
    assert found.figure("top-1-drop").value == pytest.approx(drops[top, 0], abs=1e-3)
    assert -1 <= found.figure("lds").value <= 1
    assert found.figure("lds", "none").count == 0
    assert found.figure("top-1-drop", "longest").count == 1
    names = {figure.metric for figure in found.figures}
    assert names == {"lds", "top-1-drop", "f1"}


def test_without_a_model_there_are_none(trace: Trace) -> None:
    plain = evaluate(
        {"weights": trace}, [weights_label(trace.text)], options=EvaluationOptions(draws=10)
    )
    assert not set(CAUSAL_METRICS) & set(plain.rows[0].values)
    for name in ("lds-share-of-oracle", "deletion-auc"):
        with pytest.raises(InputError, match="no model measures them"):
            evaluate(
                {"weights": trace},
                [weights_label(trace.text)],
                options=EvaluationOptions(metrics=[name]),
            )
    with pytest.raises(InputError, match=r"'lds' is of measured effects.*--model NAME"):
        evaluate(
            {"weights": trace},
            [weights_label(trace.text)],
            options=EvaluationOptions(metrics=["lds"]),
        )


def test_what_a_method_was_fitted_on_does_not_evaluate_it() -> None:
    alone = leave_one_out(len(TRACE.units))
    plain = planted(Linear())[1].plain
    item, _ = planted(Linear(), fitted=np.concatenate([alone, plain[:10]]))
    own = Prediction(WEIGHTS[3:7].sum(axis=0) ** 3, frozenset())
    item = dataclasses.replace(item, prediction=own, effects=True)
    names = ["top-1-drop", "comprehensiveness-1", "deletion-auc", "r-squared-of-effects"]
    for name in names:  # all of them look at a unit taken away alone
        assert CAUSAL_METRICS[name](item, own) is None, name
    assert CAUSAL_METRICS["top-3-drop"](item, own) is not None
    left = plain[10:]
    logprobs = left @ WEIGHTS[3:7].sum(axis=0)
    expected = float(lds(own.scores[None], left, logprobs[:, None])[0])
    assert CAUSAL_METRICS["lds"](item, own) == pytest.approx(expected)
    # It judges every other method, and masks that keep all or nothing judge all.
    other = Prediction(own.scores, frozenset())
    for name in names[:3]:
        assert CAUSAL_METRICS[name](item, other) is not None, name
    ends = np.array([[True], [False]]).repeat(len(TRACE.units), axis=1)
    measured = planted(Linear(), fitted=ends)[1]
    assert not measured.not_fitted(ends).any()
    item = dataclasses.replace(item, measured=measured)
    for name in (*names[:3], "insertion-auc", "sufficiency-1"):
        assert CAUSAL_METRICS[name](item, own) is not None, name


class Occlusion(SpanSignal):
    """Measures two masks: without the first unit, and without the second."""

    name = "occlusion"

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        keep = leave_one_out(len(scorer.units))[:2]
        span_logprobs(scorer, torch.from_numpy(keep), spans)
        return [{} for _ in spans]


def test_masks_that_a_signal_measures_are_handed_on(reference: Tracer, trace: Trace) -> None:
    masks = leave_one_out(len(trace.units))
    seen: list[np.ndarray] = []
    tracer = reference.with_options(signal=Occlusion())
    tracer.replay(MESSAGES, ANSWER, measured=seen.append)
    np.testing.assert_array_equal(np.concatenate(seen), masks[:2])
    tracer.replay(MESSAGES, ANSWER)
    tracer.effects(trace, masks[2:], messages=MESSAGES)
    assert len(seen) == 1


def linear_measure(example: str, trace: Trace) -> MeasuredResponse:
    sizes = [len(unit.positions) for unit in trace.units]
    return MeasuredResponse(Linear(), sizes, example, about={"operator": "linear", "seed": 0})


def test_by_default_only_the_cheap_ones_are_measured() -> None:
    found = evaluate(
        {"harbour": TRACE},
        [label()],
        options=EvaluationOptions(draws=10),
        models=ModelAccess(measure=linear_measure),
    )
    assert set(found.rows[0].values) & set(CAUSAL_METRICS) == set(DEFAULT)


def test_every_metric_by_name_with_controls_and_intervals() -> None:
    names = [*CAUSAL_METRICS, *SHARES]
    traces = dict.fromkeys(("a", "b"), TRACE)
    labels = [label(name) for name in traces]
    found = evaluate(
        traces,
        labels,
        options=EvaluationOptions(metrics=names, draws=50),
        models=ModelAccess(measure=linear_measure),
    )
    for method in ("trace", "random", "longest", "all"):
        for name in names:
            estimate = found.figure(name, method)
            assert estimate.count or estimate.undefined, (name, method)
    share = found.figure("lds-share-of-oracle")
    values = [
        (row.values["lds"], row.values["oracle-lds"])
        for row in found.rows
        if row.method == "trace" and row.level == "span"
    ]
    pairs = np.array([each for each in values if None not in each], dtype=float)
    assert share.value == pytest.approx(pairs[:, 0].mean() / pairs[:, 1].mean())
    assert share.low <= share.value <= share.high
    heading, first, *_ = table_of(found)
    assert "insertion-auc-normalised" in heading
    assert "lds-share-of-oracle" in heading
    assert "[" in first[heading.index("r-squared")]
    # No signal gave effects: the metric of them has no column, and a count of its own.
    assert "r-squared-of-effects" not in heading
    assert "insertion-auc-normalised" in render_page(found)
    notes = "\n".join(notes_of(found))
    assert "effects are measured with operator linear, seed 0" in notes
    assert "'random', 'longest' (unit size) and 'all' (uniform)" in notes
    assert "fitted on masks that evaluate nothing" in notes
    assert "spans of 'trace' without a value: r-squared-of-effects 10" in notes
    assert "spans of 'none' without a value: lds 10, size-controlled-lds 10, r-squared 10" in notes


def test_shares_are_compared_and_gate(tmp_path: Path) -> None:
    def evaluated(metrics: Sequence[str], name: str) -> EvaluationFile:
        found = evaluate(
            {"a": TRACE},
            [label("a")],
            options=EvaluationOptions(metrics=metrics),
            models=ModelAccess(measure=linear_measure),
        )
        path = write_text(tmp_path / name, json.dumps(to_document(found)))
        return read_evaluation(path)

    both = evaluated(["lds-share-of-oracle", "sufficiency-3"], "both.json")
    differences = compare(both, both, draws=10)
    for text in ("lds-share-of-oracle < 0", "sufficiency-3 > 0", "oracle-lds < 0"):
        holds, difference = check_rule(parse_rule(text), differences)
        assert not holds
        assert difference.estimate.value == pytest.approx(0)
    # Where only one side has the oracle there is no share to compare.
    plain = evaluated(["lds"], "plain.json")
    assert "lds-share-of-oracle" not in {each.metric for each in compare(both, plain, draws=10)}
    assert plain.effects == {"operator": "linear", "seed": 0}
    with pytest.raises(InputError, match=r"operator linear, seed 0.*operator mean.*--operator"):
        compare(both, dataclasses.replace(plain, effects={"operator": "mean", "seed": 0}))
    compare(both, dataclasses.replace(plain, effects={}), draws=10)
