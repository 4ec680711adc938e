"""The signal says what its weights say, and refuses what it was not trained for."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, SourceOptions, Tracer
from omnitrace.ablation.cache import model_digest, model_fingerprint
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.estimator import Estimator, FeatureRecipe, Learned, pooled, save
from omnitrace.estimator import signal as module
from omnitrace.plugins.registry import registry
from omnitrace.signals.base import LiveSpanSignal, SpanSignal, TokenSignal
from omnitrace.types import SourceUnit, TextRange
from tests.helpers.estimators import made_learned
from tests.helpers.text_adapters import text_adapter

SOURCES = [SourceUnit(f"u{i}", "text", TextRange(0, 0, i, i + 1), (i,)) for i in range(3)]


def reduced(tokens: int = 4) -> torch.Tensor:
    return torch.rand(tokens, 10, 3, generator=torch.Generator().manual_seed(0))


def changed_card(learned: Learned, **fields: Any) -> Learned:
    return dataclasses.replace(learned, card=learned.card.model_copy(update=fields))


def test_it_is_a_live_span_signal_and_nothing_else() -> None:
    made = registry().signal("estimator").make()
    assert isinstance(made, Estimator)
    assert isinstance(made, LiveSpanSignal)
    assert not isinstance(made, TokenSignal | SpanSignal)


def test_effects_are_calibrated_scores_with_intervals() -> None:
    learned = made_learned()
    found = Estimator(learned).effects_of(reduced(), SOURCES)
    features = pooled(reduced(), FeatureRecipe())
    scores = learned.fitted.scores(features, ["text"] * 3)
    spreads = learned.fitted.spreads(features, ["text"] * 3)
    assert list(found) == ["u0", "u1", "u2"]
    for effect, score, spread in zip(found.values(), scores, spreads, strict=True):
        value = 0.5 * 4**0.5 * score  # the calibration of the made-up estimator
        assert effect.value == pytest.approx(value)
        assert effect.low == pytest.approx(value - 2.0 * 0.5 * 4**0.5 * spread)
        assert effect.high == pytest.approx(value + 2.0 * 0.5 * 4**0.5 * spread)


def test_below_its_threshold_a_span_has_no_source() -> None:
    learned = made_learned()
    largest = max(e.value for e in Estimator(learned).effects_of(reduced(), SOURCES).values())
    assert largest > 0
    for least, expected in ((0.9 * largest, 3), (1.1 * largest, 0)):
        calibration = dataclasses.replace(learned.calibration, least=least)
        signal = Estimator(dataclasses.replace(learned, calibration=calibration))
        assert len(signal.effects_of(reduced(), SOURCES)) == expected


def test_without_a_quantile_there_is_no_interval() -> None:
    learned = made_learned()
    plain = dataclasses.replace(
        learned, calibration=dataclasses.replace(learned.calibration, quantile=None)
    )
    found = Estimator(plain).effects_of(reduced(), SOURCES)
    assert all(effect.low is None and effect.high is None for effect in found.values())
    assert Estimator(plain).effects_of(torch.zeros(2, 10, 0), []) == {}


def test_the_file_is_told_in_the_parameters(tmp_path: Path) -> None:
    path = save(tmp_path / "e", made_learned())
    made = registry().signal("estimator").factory(path=path)
    assert made.parameters["path"] == str(path)
    assert made.parameters["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert made.needs == {"rows"}
    assert made.layers([0, 1, 2]) == [0, 1]


def test_values_are_asked_for_where_the_recipe_has_them() -> None:
    learned = changed_card(made_learned(), recipe=FeatureRecipe(values=True))
    assert Estimator(learned).needs == {"rows", "values"}


def test_without_a_file_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "none")
    with pytest.raises(InputError, match=r"has no file.*estimator train"):
        Estimator().layers([0, 1])


def test_layers_that_the_model_lacks() -> None:
    made = Estimator(made_learned(layers=(0, 5)))
    with pytest.raises(InputError, match=r"reads the layers .*no layer 5"):
        made.layers([0, 1, 2])


def test_another_number_of_heads() -> None:
    rows = [LayerRows(i, lambda reuse: torch.rand(4, 2, 6)) for i in range(2)]
    with pytest.raises(InputError, match=r"shows 8 features.*10: 2 layers of 5 heads"):
        Estimator(made_learned()).reduce(rows, [(0, 1), (2,)])


@pytest.fixture(scope="module")
def fitting(reference: Tracer) -> Learned:
    """An estimator that says it was trained for the reference model."""
    config = reference.adapter.model.config.get_text_config(decoder=True)
    return made_learned(
        layers=tuple(range(config.num_hidden_layers)),
        heads=config.num_attention_heads,
        fingerprint=model_fingerprint(reference.adapter.model),
    )


def test_the_model_and_the_units_it_was_trained_for(reference: Tracer, fitting: Learned) -> None:
    Estimator(fitting).check_model(reference.adapter, reference.setup.sources)


def test_other_weights_are_refused(reference: Tracer, fitting: Learned) -> None:
    parameter = next(iter(reference.adapter.model.parameters()))
    kept = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter.add_(1.0)
        with pytest.raises(InputError, match=r"trained for 'some-model', and .* has other weights"):
            Estimator(fitting).check_model(reference.adapter, reference.setup.sources)
    finally:
        with torch.no_grad():
            parameter.copy_(kept)


def test_other_shapes_are_refused(reference: Tracer, fitting: Learned) -> None:
    heads = fitting.card.model.heads
    made = made_learned(layers=(0,), heads=heads + 1)
    with pytest.raises(InputError, match=rf"layers of {heads} heads.*{heads + 1} heads each"):
        Estimator(made).check_model(reference.adapter, reference.setup.sources)
    deep = made_learned(layers=(0, 99), heads=heads)
    with pytest.raises(InputError, match="layers up to 99"):
        Estimator(deep).check_model(reference.adapter, reference.setup.sources)


def test_other_units_are_refused(reference: Tracer, fitting: Learned) -> None:
    with pytest.raises(InputError, match=r"audio=.*1.0.*the tracer cuts with audio=.*2.0"):
        Estimator(fitting).check_model(reference.adapter, SourceOptions(audio_bin=2.0))


def test_the_fingerprint_is_the_same_wherever_the_model_lies(tmp_path: Path) -> None:
    """Also after saving and loading, which change the configuration."""
    model = text_adapter().model
    model.save_pretrained(tmp_path / "moved")
    loaded = type(model).from_pretrained(tmp_path / "moved")
    assert model_fingerprint(loaded) == model_fingerprint(model)
    assert model_digest(loaded) != model_digest(model)


def test_effects_scale_with_nothing_but_attention() -> None:
    """Attention to no source at all leaves what a unit is worth by its modality."""
    learned = made_learned()
    found = Estimator(learned).effects_of(torch.zeros(4, 10, 3), SOURCES)
    values = {effect.value for effect in found.values()}
    assert len(values) == 1
    offset = float(learned.fitted.weights[10] + learned.fitted.weights[11])
    assert values.pop() == pytest.approx(0.5 * 2 * offset)
    assert np.isfinite(offset)
