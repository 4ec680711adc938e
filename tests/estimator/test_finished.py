"""An estimator that waits for the end of the answer: what it reads, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from omnitrace import InputError, NotSupportedError, Trace, Tracer
from omnitrace.estimator import (
    Collector,
    Estimator,
    FeatureRecipe,
    FinishedEstimator,
    Learned,
    load_signal,
    save,
    train_estimator,
)
from omnitrace.estimator.finished import finished_features
from omnitrace.plugins.registry import registry
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.signals.base import LiveSpanSignal, SpanSignal
from omnitrace.signals.mask_gradient import MaskGradient
from omnitrace.sources.request_files import RequestEntry
from omnitrace.testing import SpanSignalConformance
from omnitrace.testing.harness import SignalHarness
from tests.helpers.estimator_training import OPTIONS, SMALL, request_of
from tests.helpers.estimators import for_reference, made_learned
from tests.helpers.text_adapters import text_adapter
from tests.helpers.tiny_models import FAMILIES, tiny
from tests.helpers.tiny_scorer import scorer, span

GRADIENT = FeatureRecipe(mask_gradient=True)


class TestFinishedEstimator(SpanSignalConformance):
    def make_harness(self) -> SignalHarness:
        return SignalHarness(FinishedEstimator(for_reference(GRADIENT)))


@pytest.fixture(scope="module")
def plain() -> Tracer:
    return Tracer(adapter=text_adapter())


@pytest.fixture(scope="module")
def learned(plain: Tracer) -> Learned:
    """An estimator that was trained for the tiny model."""
    recipe = FeatureRecipe(values=True, rollout=True, mask_gradient=True)
    collect = dataclasses.replace(OPTIONS.collect, recipe=recipe)
    options = dataclasses.replace(OPTIONS, collect=collect)
    return train_estimator(plain, [request_of(i) for i in range(3)], options)


def replayed(plain: Tracer, learned: Learned, number: int) -> Trace:
    tracer = Tracer(adapter=plain.adapter, signal=load_signal(learned))
    request = request_of(number)
    return tracer.replay(request.messages, request.response)


def test_a_replay_has_the_effects_that_training_would_predict(
    plain: Tracer, learned: Learned
) -> None:
    options = dataclasses.replace(SMALL, recipe=learned.card.recipe)
    example = Collector(plain, options).example(request_of(4))
    trace = replayed(plain, learned, 4)
    assert len(trace.spans) == len(example.tokens) == 2
    for found, features, tokens in zip(trace.spans, example.features, example.tokens, strict=True):
        scores = learned.fitted.scores(features, example.modalities)
        expected = learned.calibration.effects(scores, float(tokens))
        assert found.effects is not None
        values = [found.effects[unit.id].value for unit in trace.units]
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-6)
    assert trace.provenance.signal["name"] == "estimator"


def test_a_trace_has_the_effects_of_its_replay(plain: Tracer, learned: Learned) -> None:
    tracer = Tracer(adapter=plain.adapter, signal=load_signal(learned))
    messages = request_of(4).messages
    trace = tracer.trace(messages, max_new_tokens=10)
    again = tracer.replay(messages, list(trace.token_ids))
    for found, expected in zip(again.spans, trace.spans, strict=True):
        assert [each.unit for each in found.supports] == [each.unit for each in expected.supports]
        assert found.effects == expected.effects


@pytest.mark.parametrize("values", [False, True])
def test_features_of_every_modality_are_those_that_are_collected(
    reference: Tracer, tmp_path: Path, values: bool
) -> None:
    order = ("video", "text", "audio", "image")
    sample = make_sample(held_out_seed(1242), questions=4, order=order, long=False)
    folder = write_sample(sample, tmp_path).parent
    recipe = FeatureRecipe(values=values, rollout=True, mask_gradient=True)
    options = dataclasses.replace(SMALL, recipe=recipe)
    collector = Collector(reference, options)
    example = collector.example(RequestEntry("r", sample.messages, folder, response=sample.answer))
    answer = reference.scorer(sample.messages, sample.answer, media_root=folder)
    trace = reference.replay(sample.messages, sample.answer, media_root=folder)
    found = finished_features(answer, trace.spans, recipe, collector.layers)
    assert len({unit.modality for unit in trace.units}) == 4
    assert found.shape == example.features.shape
    np.testing.assert_allclose(found, example.features, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_last_feature_is_the_signal_mask_gradient(family: str) -> None:
    answer, spans = scorer(tiny(family)), [span(0, 2), span(2, 5)]
    effects = MaskGradient().effects(answer, spans)
    expected = np.array([[each[name].value for name in answer.units] for each in effects])
    raw = finished_features(
        answer, spans, FeatureRecipe(normalise="raw", mask_gradient=True), [0, 1]
    )
    np.testing.assert_allclose(raw[:, -1], expected, rtol=1e-6)
    shares = finished_features(answer, spans, GRADIENT, [0, 1])
    scale = np.abs(expected).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares[:, -1], expected / scale, rtol=1e-5)
    heads = shares[:, :-1]
    np.testing.assert_allclose(heads.sum(axis=-1), np.ones(heads.shape[:2]), rtol=1e-5)


def test_a_span_without_a_token_has_no_effects() -> None:
    answer = scorer(tiny("llama"))
    made = FinishedEstimator(made_learned(heads=4, recipe=GRADIENT))
    nothing, some = made.effects(answer, [span(2, 2), span(0, 2)])
    assert nothing == {}
    assert set(some) == set(answer.units)
    assert made.effects(answer, [span(2, 2)]) == [{}]


def test_it_can_be_saved_and_found_by_name(learned: Learned, tmp_path: Path) -> None:
    path = save(tmp_path / "e.safetensors", learned)
    made = registry().signal("estimator").factory(path=path)
    assert isinstance(made, FinishedEstimator)
    assert isinstance(made, SpanSignal)
    assert not isinstance(made, LiveSpanSignal)
    assert made.parameters["path"] == str(path)
    assert made.needs == {"forwards"}
    assert isinstance(load_signal(made_learned()), Estimator)


def test_each_class_refuses_the_others_estimators(learned: Learned) -> None:
    with pytest.raises(InputError, match=r"takes a finished response.*FinishedEstimator"):
        Estimator(learned)
    with pytest.raises(InputError, match=r"trained without mask_gradient.*use Estimator"):
        FinishedEstimator(made_learned())


def test_it_neither_streams_nor_contrasts(plain: Tracer, learned: Learned) -> None:
    tracer = Tracer(adapter=plain.adapter, signal=load_signal(learned))
    request = request_of(4)
    with pytest.raises(NotSupportedError, match="cannot be streamed"):
        tracer.stream(request.messages)
    with pytest.raises(NotSupportedError, match="cannot contrast two responses"):
        tracer.replay(request.messages, request.response, against="The lamp is red.")


def test_gradients_of_both_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="'heads' beside mask_gradient; expected 'none'"):
        FeatureRecipe(gradients="heads", mask_gradient=True)
