"""Captum's methods in the tracer, on requests whose evidence is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnitrace import Trace, Tracer
from omnitrace.evaluation.labels.matching import true_units
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import Sample, held_out_seed, make_sample
from omnitrace.signals.captum.gradients import InputXGradient, IntegratedGradients
from omnitrace.signals.captum.perturbation import FeatureAblation, KernelShap, Lime, Shapley
from omnitrace.testing.requests import request
from omnitrace.types import Modality
from tests.helpers.reference_categories import ONE_SOURCE

SIGNALS: list[Any] = [
    FeatureAblation(),
    Shapley(permutations=5),
    KernelShap(samples=48),
    Lime(samples=48),
    IntegratedGradients(steps=16),
    InputXGradient(),
]
ORDERS: list[tuple[Modality, ...]] = [("text", "image"), ("image", "audio"), ("audio",), ("text",)]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Sample, Path]]:
    drawn = [
        make_sample(
            held_out_seed(700 + i), questions=1, order=order, categories=ONE_SOURCE, long=False
        )
        for i, order in enumerate(ORDERS * 2)
    ]
    return [
        (sample, write_sample(sample, tmp_path_factory.mktemp(f"captum{i}")))
        for i, sample in enumerate(drawn)
    ]


MODALITIES: tuple[Any, ...] = ("text", "image", "audio", "video")


def messages(path: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(path.read_text())["messages"]
    return loaded


def test_the_true_evidence_has_the_largest_effect(
    reference: Tracer, samples: list[tuple[Sample, Path]], tmp_path: Path
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=FeatureAblation())
    hits = 0
    for sample, path in samples:
        trace = tracer.replay(messages(path), sample.answer, media_root=path.parent)
        (statement,), (span,) = sample.statements, trace.spans
        effects = span.effects
        assert effects is not None
        best = max(trace.units, key=lambda unit: effects[unit.id].value)
        if span.supports:
            assert span.supports[0].unit == best
        hits += best.id in true_units(statement.sources, trace.units)
        loaded = Trace.load(trace.save(tmp_path / f"{sample.id}.omnitrace"))
        assert loaded.reselect(trace.config).spans == trace.spans
    # What is hidden is not missed where neighbours carry it too.
    assert hits >= 6


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_every_modality_has_effects(reference: Tracer, signal: Any) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=signal)
    trace = tracer.replay(request(MODALITIES), "The red lamp is in the kitchen.")
    assert {unit.modality for unit in trace.units} == set(MODALITIES)
    (span,) = trace.spans
    assert span.effects is not None
    assert set(span.effects) == {unit.id for unit in trace.units}
    for modality in MODALITIES:
        of_modality = [unit.id for unit in trace.units if unit.modality == modality]
        if signal.name != "lime":  # its lasso sets the weak ones to zero
            assert any(span.effects[unit].value != 0 for unit in of_modality), modality


@pytest.mark.parametrize("signal", SIGNALS[:-1], ids=lambda signal: signal.name)
def test_contrast_names_what_differs_between_two_responses(reference: Tracer, signal: Any) -> None:
    note = "The lamp weighs five grams. The cup weighs seven grams. The stone weighs nine grams."
    question = "What does the cup weigh?"
    content = [{"type": "text", "text": note}, {"type": "text", "text": question}]
    trace = Tracer(adapter=reference.adapter, signal=signal).replay(
        [{"role": "user", "content": content}],
        "The cup weighs seven grams.",
        against="The cup weighs nine grams.",
    )
    assert trace.spans[0].supports[0].unit.id == "text-2"
    assert trace.provenance.signal["name"] == signal.name
