"""A model's fingerprint is the same with every version of transformers, so files go with it."""

from __future__ import annotations

from omnitrace.ablation.cache import model_fingerprint
from omnitrace.estimator import SHIPPED, load
from omnitrace.tracer import Tracer


def test_the_estimator_in_the_package_is_of_the_model_in_the_package(reference: Tracer) -> None:
    """It was written with transformers 5.23."""
    card = load(SHIPPED).card
    assert card.model.fingerprint == model_fingerprint(reference.adapter.model)
