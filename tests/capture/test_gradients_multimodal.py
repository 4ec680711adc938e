"""Gradients of decoding steps in multimodal families, whose positions are not those of the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.attention_gradients import assert_exact, stepwise, untraced
from tests.helpers.tiny_multimodal_models import FAMILIES, placeholders


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[Any, dict[str, torch.Tensor]]:
    made: tuple[Any, dict[str, torch.Tensor]] = FAMILIES[request.param]()
    return made


@pytest.mark.parametrize("target", ["logit", "logprob"])
def test_every_step_and_layer(family: tuple[Any, dict[str, torch.Tensor]], target: str) -> None:
    model, inputs = family
    settings = {"suppress_tokens": placeholders(model)}
    ids, found = stepwise(model, inputs, 4, target=target, **settings)
    assert ids == untraced(model, inputs, 4, **settings)
    assert_exact(found, model, inputs, ids, target=target)


def test_sampled_ids_are_those_of_the_untraced_model(
    family: tuple[Any, dict[str, torch.Tensor]],
) -> None:
    model, inputs = family
    settings = {"suppress_tokens": placeholders(model), "do_sample": True, "temperature": 1.5}
    torch.manual_seed(3)
    expected = untraced(model, inputs, 6, **settings)
    torch.manual_seed(3)
    ids, found = stepwise(model, inputs, 6, **settings)
    assert ids == expected
    assert_exact(found, model, inputs, ids, steps=[0, 5])
