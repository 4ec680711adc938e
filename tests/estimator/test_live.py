"""Tracing with a trained file: live, replayed, streamed, and under the conformance kit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from omnitrace import InputError, SourceOptions, Trace, Tracer
from omnitrace.estimator import (
    Collector,
    Estimator,
    FeatureRecipe,
    Learned,
    load,
    save,
    train_estimator,
)
from omnitrace.estimator.features import Gradients
from omnitrace.testing import LiveSpanSignalConformance
from omnitrace.testing.harness import SignalHarness
from tests.helpers.command_line import run_command
from tests.helpers.estimator_training import OPTIONS, SMALL, request_of
from tests.helpers.estimators import for_reference, with_network
from tests.helpers.text_adapters import text_adapter


class TestEstimator(LiveSpanSignalConformance):
    def make_harness(self) -> SignalHarness:
        return SignalHarness(Estimator(for_reference()))


class TestEstimatorWithANetwork(LiveSpanSignalConformance):
    def make_harness(self) -> SignalHarness:
        return SignalHarness(Estimator(with_network(for_reference())))


class TestEstimatorWithGradients(LiveSpanSignalConformance):
    def make_harness(self) -> SignalHarness:
        return SignalHarness(Estimator(for_reference(FeatureRecipe(gradients="heads"))))


@pytest.fixture(scope="module")
def plain() -> Tracer:
    return Tracer(adapter=text_adapter())


@pytest.fixture(scope="module", params=get_args(Gradients))
def recipe(request: pytest.FixtureRequest) -> FeatureRecipe:
    return FeatureRecipe(gradients=request.param)


@pytest.fixture(scope="module")
def path(plain: Tracer, recipe: FeatureRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that was trained for the tiny model."""
    collect = dataclasses.replace(OPTIONS.collect, recipe=recipe)
    options = dataclasses.replace(OPTIONS, collect=collect)
    learned = train_estimator(plain, [request_of(i) for i in range(3)], options)
    return save(tmp_path_factory.mktemp("trained") / "e.safetensors", learned)


@pytest.fixture(scope="module")
def tracer(plain: Tracer, path: Path) -> Tracer:
    return Tracer(adapter=plain.adapter, signal=Estimator(path))


def predicted(learned: Learned, plain: Tracer, number: int) -> list[np.ndarray]:
    options = dataclasses.replace(SMALL, recipe=learned.card.recipe)
    example = Collector(plain, options).example(request_of(number))
    return [
        learned.calibration.effects(
            learned.fitted.scores(features, example.modalities), float(tokens)
        )
        for features, tokens in zip(example.features, example.tokens, strict=True)
    ]


def values(trace: Trace) -> list[list[float]]:
    return [[e.value for e in (span.effects or {}).values()] for span in trace.spans]


def test_a_replay_has_the_effects_that_training_would_predict(
    tracer: Tracer, plain: Tracer, path: Path
) -> None:
    request = request_of(4)
    trace = tracer.replay(request.messages, request.response)
    np.testing.assert_allclose(values(trace), predicted(load(path), plain, 4), rtol=1e-4, atol=1e-9)
    assert trace.provenance.signal["name"] == "estimator"
    assert trace.provenance.signal["parameters"]["path"] == path.name


def test_a_stream_has_the_effects_of_the_trace(tracer: Tracer) -> None:
    messages = request_of(4).messages
    trace = tracer.trace(messages, max_new_tokens=10)
    *_, end = tracer.stream(messages, max_new_tokens=10)
    assert end.type == "end"
    assert end.trace.spans == trace.spans
    assert values(trace)[0]


def test_supports_are_units_of_positive_effect(plain: Tracer, path: Path) -> None:
    learned = load(path)
    assert learned.calibration.quantile is None  # of one held-out request
    tracer = Tracer(adapter=plain.adapter, signal=Estimator(learned))
    trace = tracer.replay(request_of(4).messages, request_of(4).response)
    for span in trace.spans:
        assert span.effects is not None
        positive = {name for name, effect in span.effects.items() if effect.value > 0}
        assert {support.unit.id for support in span.supports} <= positive
        assert span.ungrounded == (not positive)


def test_another_model_or_other_units_are_refused(
    reference: Tracer, plain: Tracer, path: Path
) -> None:
    with pytest.raises(InputError, match="was trained for"):
        Tracer(adapter=reference.adapter, signal=Estimator(path))
    options = SourceOptions(text="paragraph")
    with pytest.raises(InputError, match="text='sentence', and the tracer cuts"):
        Tracer(adapter=plain.adapter, signal=Estimator(path), sources=options)


def test_the_command_line_takes_a_file(tmp_path: Path, plain: Tracer, path: Path) -> None:
    plain.adapter.model.save_pretrained(tmp_path / "model")
    plain.adapter.tokenizer.save_pretrained(tmp_path / "model")
    quick = ("--text", "The lamp is red. The cup is blue.", "--ask", "What is red?")
    command = ("trace", *quick, "--model", tmp_path / "model", "--max-new-tokens", "6")
    result = run_command(*command, "--estimator", path, "--json")
    assert result.exit_code == 0, result.stderr
    assert '"name": "estimator"' in result.stdout
    both = run_command(*command, "--estimator", path, "--signal", "grad-sam")
    assert both.exit_code == 2
    assert "both --signal grad-sam and --estimator" in both.stderr
