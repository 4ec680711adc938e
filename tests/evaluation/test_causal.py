"""Metrics of measured effects: against a planted linear model, and through ``evaluate``."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from omnitrace import InputError, Trace, Tracer
from omnitrace.ablation import effects, leave_one_out
from omnitrace.evaluation.baselines import Prediction
from omnitrace.evaluation.causal import CAUSAL_METRICS, Measured, measure_by
from omnitrace.evaluation.evaluate import evaluate
from omnitrace.evaluation.items import Item, items_of
from omnitrace.evaluation.labels import Label, TextSource
from omnitrace.evaluation.scores import span_scores
from omnitrace.scoring import ResponseScorer
from tests.evaluation.labelled import label, span
from tests.evaluation.sanity.planted import ANSWER, FACTS, MESSAGES
from tests.sample_traces import multimodal_trace

TRACE = multimodal_trace()
WEIGHTS = np.random.default_rng(0).normal(size=(40, len(TRACE.units)))


class Linear:
    """Token t loses WEIGHTS[t, k] nats without unit k; it notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        self.asked.append(masks)
        return masks @ WEIGHTS.T


def planted(run: Linear, **options: int) -> tuple[Item, Measured]:
    sizes = [len(unit.positions) for unit in TRACE.units]
    measured = Measured(run, sizes, "harbour", **options)
    first = next(iter(items_of(label(), TRACE)))
    return dataclasses.replace(first, tokens=(3, 7), measured=measured), measured


def test_the_true_weights_of_a_planted_model_are_found_faithful() -> None:
    run = Linear()
    item, measured = planted(run)
    truth = WEIGHTS[3:7].sum(axis=0)
    ordered = -np.sort(-truth)
    expected = {"lds": 1.0, "size-controlled-lds": 1.0} | {
        f"top-{k}-drop": ordered[:k].sum() for k in (1, 3, 5)
    }
    for name, metric in CAUSAL_METRICS.items():
        said = metric(item, Prediction(truth, frozenset()))
        assert said == pytest.approx(expected[name]), name
    assert CAUSAL_METRICS["lds"](item, Prediction(-truth, frozenset())) == pytest.approx(-1.0)
    assert CAUSAL_METRICS["lds"](item, Prediction(0 * truth, frozenset())) is None
    assert measured.plain.shape == measured.sized.shape == (64, len(TRACE.units))
    for asked in run.asked:  # all that every method asks for comes in one go
        assert (asked[-128:] == np.concatenate([measured.plain, measured.sized])).all()


def test_few_units_get_as_many_masks_as_there_are() -> None:
    few = Measured(Linear(), [5, 5, 5, 5], "few")
    assert 4 <= len(few.plain) < 8
    none = Measured(Linear(), [5, 5], "two")
    assert none.plain.shape == (0, 2)
    item, _ = planted(Linear())
    two = dataclasses.replace(item, units=TRACE.units[:2], measured=none)
    assert CAUSAL_METRICS["lds"](two, Prediction(np.array([1.0, 2.0]), frozenset())) is None
    unmeasured = dataclasses.replace(item, measured=None)
    for metric in CAUSAL_METRICS.values():
        assert metric(unmeasured, Prediction(np.zeros(len(TRACE.units)), frozenset())) is None


def test_no_mask_runs_twice(
    reference: Tracer, trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ResponseScorer] = []
    scorer = reference.scorer

    def noted(*arguments: Any, **options: Any) -> ResponseScorer:
        made.append(scorer(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(reference, "scorer", noted)
    measure = measure_by(reference, masks=8)
    measured = measure("weights", trace)
    assert made == []
    units = len(trace.units)
    first = measured.logprobs(measured.plain, (0, 3))
    (only,) = made
    asked = np.concatenate([measured.plain, measured.sized, np.ones((1, units), dtype=bool)])
    assert only.forwards == len(np.unique(asked, axis=0))
    again = measured.logprobs(np.concatenate([asked[:8], leave_one_out(units)]), (0, 3))
    (only,) = made
    asked = np.concatenate([asked, leave_one_out(units)])
    assert only.forwards == len(np.unique(asked, axis=0))
    assert (again[:8] == first).all()
    # Nor for another signal's trace of the same answer.
    other = Tracer(adapter=reference.adapter, signal="attention-last").replay(MESSAGES, ANSWER)
    assert (measure("weights", other).logprobs(asked[:8], (0, 3)) == first).all()
    assert only.forwards == len(np.unique(asked, axis=0))


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
    found = evaluate(
        {"weights": trace},
        [weights_label(trace.text)],
        measure=measure,
        metrics=["lds", "top-1-drop", "f1"],
        draws=10,
    )
    top = int(span_scores(trace)[0].argmax())
    drops = effects(reference, trace, leave_one_out(len(trace.units))).drops
    assert found.figure("top-1-drop").value == pytest.approx(drops[top, 0], abs=1e-3)
    assert -1 <= found.figure("lds").value <= 1
    assert found.figure("lds", "none").count == 0
    assert found.figure("top-1-drop", "longest").count == 1
    names = {figure.metric for figure in found.figures}
    assert names == {"lds", "top-1-drop", "f1"}


def test_without_a_model_there_are_none(trace: Trace) -> None:
    plain = evaluate({"weights": trace}, [weights_label(trace.text)], draws=10)
    assert not set(CAUSAL_METRICS) & set(plain.rows[0].values)
    with pytest.raises(InputError, match=r"'lds' is of measured effects.*--model NAME"):
        evaluate({"weights": trace}, [weights_label(trace.text)], metrics=["lds"])
