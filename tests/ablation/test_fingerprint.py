"""A model's fingerprint is the same with every version of transformers, so files go with it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from omnitrace.ablation.cache import model_fingerprint
from omnitrace.estimator import SHIPPED, load
from omnitrace.tracer import Tracer


def _omni(*, nested: bool, model_type: str = "qwen2_5_omni_thinker") -> nn.Module:
    """Build weights as Qwen-Omni's Thinker names them since transformers 5.21, and before."""
    torch.manual_seed(0)
    towers = {"audio_tower": nn.Linear(2, 3), "visual": nn.Linear(3, 2)}
    text, head = nn.ModuleDict({"layer": nn.Linear(4, 4)}), nn.Linear(4, 5)
    inner = nn.ModuleDict({**towers, "language_model": text})
    model = nn.Module()
    for name, each in ({"model": inner} if nested else {**towers, "model": text}).items():
        model.add_module(name, each)
    model.add_module("lm_head", head)
    model.config = SimpleNamespace(model_type=model_type)
    return model


def test_the_weights_of_an_omni_model_have_the_names_of_newer_versions() -> None:
    assert model_fingerprint(_omni(nested=False)) == model_fingerprint(_omni(nested=True))


def test_other_models_keep_their_own_names() -> None:
    flat, nested = (_omni(nested=nested, model_type="other") for nested in (False, True))
    assert model_fingerprint(flat) != model_fingerprint(nested)


def test_the_estimator_in_the_package_is_of_the_model_in_the_package(reference: Tracer) -> None:
    """It was written with transformers 5.23."""
    card = load(SHIPPED).card
    assert card.model.fingerprint == model_fingerprint(reference.adapter.model)
