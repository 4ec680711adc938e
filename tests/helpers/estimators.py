"""Examples whose truth is known, and estimators with made-up weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from omnitrace.ablation.cache import model_fingerprint
from omnitrace.estimator import (
    Calibration,
    Card,
    Example,
    FeatureRecipe,
    Fitted,
    Learned,
    Network,
)
from omnitrace.estimator.store import (
    CalibrationFacts,
    FitFacts,
    ModelFacts,
    TrainingFacts,
    sources_record,
)
from omnitrace.sources.options import SourceOptions
from omnitrace.testing.harness import reference
from omnitrace.types import Modality

UNITS: tuple[Modality, ...] = ("text", "text", "text", "image", "image", "audio")


def made_example(
    number: int,
    *,
    features: int = 10,
    spans: int = 2,
    masks: int = 24,
    noise: float = 0.1,
    modalities: tuple[Modality, ...] = UNITS,
    truth: np.ndarray | None = None,
) -> Example:
    """Return an example whose log-probabilities are those of the weights ``truth``, ``[F + 5]``."""
    rng = np.random.default_rng([7, number])
    units = len(modalities)
    shares = rng.dirichlet(np.ones(units), size=(spans, features)).astype(np.float32)
    keep = rng.random((masks, units)) < 0.5
    weights = default_truth(features) if truth is None else truth
    scores = Fitted("ridge", weights).scores(shares, modalities)
    logprobs = keep @ scores.T + noise * rng.standard_normal((masks, spans)) - 5.0
    tokens = np.full(spans, 8, dtype=np.int64)
    return Example(f"example-{number}", shares, keep, logprobs, modalities, tokens)


def default_truth(features: int = 10) -> np.ndarray:
    """Return weights of which two heads count, and images more than other units."""
    weights = np.zeros(features + 5)
    weights[2], weights[7] = 4.0, 2.0
    weights[features] = 0.3  # of every unit
    weights[features + 2] = 0.5  # of images beside
    return weights


def made_learned(
    *,
    layers: tuple[int, ...] = (0, 1),
    heads: int = 5,
    recipe: FeatureRecipe | None = None,
    **changed: Any,
) -> Learned:
    """Return an estimator of made-up weights; ``changed`` are fields of its card's model."""
    recipe = recipe or FeatureRecipe()
    features = len(layers) * heads * recipe.per_head + recipe.beside
    model = {
        "name": "some-model",
        "adapter": "causal_lm",
        "fingerprint": "0" * 64,
        "layers": layers,
        "heads": heads,
    }
    width = features + 5
    root = np.random.default_rng(3).standard_normal((width, width)) / width
    fitted = Fitted(
        "ridge",
        default_truth(features),
        (root @ root.T).astype(np.float32),
        0.5,
        {"penalty": 10.0},
        {"penalty 10": 0.9},
    )
    calibration = Calibration(factor=0.5, power=0.5, quantile=2.0, level=0.9, examples=12)
    figure = {"value": 0.8, "low": 0.7, "high": 0.9, "count": 12, "undefined": 0}
    card = Card.model_validate(
        {
            "model": ModelFacts.model_validate(model | changed),
            "sources": sources_record(SourceOptions()),
            "recipe": recipe,
            "fit": FitFacts(kind="ridge", offsets=True, chosen={"penalty": 10.0}, tried={}),
            "calibration": CalibrationFacts(
                factor=0.5, power=0.5, quantile=2.0, level=0.9, examples=12
            ),
            "training": TrainingFacts(
                data="1" * 64,
                examples=48,
                spans=100,
                held_out=12,
                masks=32,
                keep_rates=(0.5,),
                operator="attention",
                modalities=("text",),
                span_unit="sentence",
                seed=0,
            ),
            "quality": {"lds": {"estimator": figure, "attention-mean": figure | {"value": None}}},
            "versions": {"omnitrace-attribution": "0.1.0"},
            "created": "2026-11-25T00:00:00+00:00",
        }
    )
    return Learned(card, fitted, calibration)


def with_network(learned: Learned, hidden: int = 6) -> Learned:
    """Return an estimator of the same card, but that its fit is a network of made-up numbers."""
    rng = np.random.default_rng(4)
    width = learned.features + 5
    network = Network(
        rng.standard_normal((hidden, width)),
        rng.standard_normal(hidden),
        rng.standard_normal(hidden),
    )
    weights = np.zeros(width)
    weights[-5] = 0.3
    facts = learned.card.fit.model_copy(update={"kind": "mlp"})
    chosen = {"steps": 100.0}
    return dataclasses.replace(
        learned,
        card=learned.card.model_copy(update={"fit": facts.model_copy(update={"chosen": chosen})}),
        fitted=Fitted("mlp", weights, chosen=chosen, network=network),
    )


def for_reference(recipe: FeatureRecipe | None = None) -> Learned:
    """Make an estimator of the harness's model, with made-up weights."""
    model = reference().adapter.model
    config = model.config.get_text_config(decoder=True)
    return made_learned(
        layers=tuple(range(config.num_hidden_layers)),
        heads=config.num_attention_heads,
        recipe=recipe,
        fingerprint=model_fingerprint(model),
    )
