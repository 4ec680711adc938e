"""Rows and gradients of models whose layers are fed more than embeddings, or share their keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.replay import ReplayCapture
from omnitrace.models.forward import kept_logits
from tests.helpers.attention_gradients import assert_exact, stepwise, untraced
from tests.helpers.attention_rows import assert_same, captured_rows, eager_rows
from tests.helpers.side_input_models import TEXT_FAMILIES
from tests.helpers.tiny_models import PROMPT


@pytest.mark.parametrize("target", ["logit", "logprob"])
@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_gradients_of_every_step_and_layer(family: str, target: str) -> None:
    model = TEXT_FAMILIES[family]().double()  # so sharp that rounding of single precision shows
    ids, found = stepwise(model, PROMPT, 6, target=target)
    assert ids == untraced(model, PROMPT, 6)
    assert_exact(found, model, PROMPT, ids, target=target)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"cache_implementation": "static"},
        {"prefill_chunk_size": 3},
        {"use_cache": False},
    ],
    ids=["dynamic cache", "static cache", "chunked prefill", "no cache"],
)
@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_rows_of_every_step_and_layer(family: str, kwargs: dict[str, Any]) -> None:
    deferred = "cache_implementation" not in kwargs
    ids, rows = captured_rows(
        TEXT_FAMILIES[family](), PROMPT, 9, block=4, deferred=deferred, **kwargs
    )
    expected_ids, expected = eager_rows(TEXT_FAMILIES[family](), PROMPT, 9)
    assert torch.equal(ids, expected_ids)
    assert_same(rows, expected, 10, 1e-5)


@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_a_layer_that_is_captured_alone(family: str) -> None:
    """It may share keys, and be spared all of the prompt but its last token."""
    for layer in (2, 3):
        model = TEXT_FAMILIES[family]()
        module = attention_modules(model.get_decoder())[layer]
        capture = RowCapture([layer], 10, values=True)
        with tapped(model, [module], capture.taps):
            ids = model.generate(**PROMPT, max_new_tokens=9, do_sample=False)
        (found,) = capture.rows(9)
        whole = ReplayCapture([layer], 10, values=True)
        given = {"input_ids": ids[:, :-1], "attention_mask": torch.ones_like(ids[:, :-1])}
        with tapped(model, [module], whole.taps), torch.no_grad():
            model(**given, use_cache=False, logits_to_keep=kept_logits(model, 1))
        (expected,) = whole.rows(9)
        torch.testing.assert_close(found.weights, expected.weights, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.value_norms, expected.value_norms, atol=1e-4, rtol=1e-5)
