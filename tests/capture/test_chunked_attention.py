"""Llama 4: layers that attend within chunks, before, while and after a chunk ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnitrace.ablation import measure
from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.replay import ReplayCapture
from tests.helpers import naive_ablation as naive
from tests.helpers.attention_gradients import assert_exact, stepwise, untraced
from tests.helpers.attention_rows import assert_same, captured_rows, eager_rows
from tests.helpers.odd_families import llama4
from tests.helpers.tiny_models import PROMPT

CHUNKS = [4, 13, 64]  # of a prompt of 10 tokens: shorter; ends while the model writes; never ends


@pytest.mark.parametrize("block", [1, 5])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_rows(chunk: int, block: int) -> None:
    ids, rows = captured_rows(llama4(chunk), PROMPT, 12, block=block)
    expected_ids, expected = eager_rows(llama4(chunk), PROMPT, 12)
    assert torch.equal(ids, expected_ids)
    assert_same(rows, expected, 10, 1e-5)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_replay(chunk: int) -> None:
    model = llama4(chunk)
    ids, rows = captured_rows(model, PROMPT, 12, block=1)
    modules = attention_modules(model.get_decoder())
    capture = ReplayCapture(range(4), 10)
    whole = torch.cat([PROMPT["input_ids"], ids[:, :-1]], dim=1)
    with tapped(model, modules, capture.taps), torch.no_grad():
        model(input_ids=whole, attention_mask=torch.ones_like(whole), use_cache=False)
    for layer, found in enumerate(capture.rows(12)):
        for step in range(12):
            expected = rows[step][layer][0]
            torch.testing.assert_close(
                found.weights[:, step, : 10 + step], expected, atol=1e-5, rtol=0
            )


@pytest.mark.parametrize("chunk", CHUNKS)
def test_gradients(chunk: int) -> None:
    model = llama4(chunk).double()
    ids, found = stepwise(model, PROMPT, 6)
    assert ids == untraced(model, PROMPT, 6)
    assert_exact(found, model, PROMPT, ids)


@pytest.mark.parametrize("operator", ["attention", "mean"])
@pytest.mark.parametrize("chunk", [16, 48, 64])
def test_ablation(chunk: int, operator: str) -> None:
    scorer = naive.scorer(llama4(chunk))
    masks = naive.drawn(12)
    loop = naive.by_mean if operator == "mean" else naive.by_attention
    found = measure(scorer, [naive.span_of_all(scorer)], masks, operator=operator)
    np.testing.assert_allclose(found.tokens, loop(scorer, masks), atol=1e-5)
    assert scorer.reach.full == (chunk == 64)
