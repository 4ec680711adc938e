"""Rows and gradients of models whose layers are fed more than embeddings."""

from __future__ import annotations

import pytest

from tests.helpers.attention_gradients import assert_exact, stepwise, untraced
from tests.helpers.side_input_models import TEXT_FAMILIES
from tests.helpers.tiny_models import PROMPT


@pytest.mark.parametrize("target", ["logit", "logprob"])
@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_gradients_of_every_step_and_layer(family: str, target: str) -> None:
    model = TEXT_FAMILIES[family]()
    ids, found = stepwise(model, PROMPT, 6, target=target)
    assert ids == untraced(model, PROMPT, 6)
    assert_exact(found, model, PROMPT, ids, target=target)
