"""Models with states: a state is of one row alone, and nothing but leaving out hides from it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from omnitrace import NotSupportedError
from omnitrace.ablation import ablated_logprobs, measure
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.signals.mask_gradient import MaskGradient
from tests.helpers import naive_ablation as naive
from tests.helpers.hybrid_models import FAMILIES, hybrid
from tests.helpers.tiny_models import tiny


@functools.cache
def made(family: str) -> ResponseScorer:
    return naive.scorer(hybrid(family))


def left_out(scorer: ResponseScorer, masks: np.ndarray) -> np.ndarray:
    """Run each mask whole, on the embeddings that it keeps alone; their positions stay."""
    found = []
    for mask in masks:
        kept = naive.kept(scorer, mask)
        with torch.no_grad():
            output = scorer.model(
                inputs_embeds=scorer.embeddings[:, kept],
                attention_mask=torch.ones(1, int(kept.sum()), dtype=torch.long),
                position_ids=scorer.positions[..., kept].reshape(-1, int(kept.sum()))[-1:],
                use_cache=False,
            )
        found.append(naive.of_response(output.logits, scorer.response))
    return torch.stack(found).numpy()


@pytest.mark.parametrize("memory", [1, 2**30])
@pytest.mark.parametrize("operator", ["mean", "attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_effects_equal_a_loop_of_whole_passes(family: str, operator: str, memory: int) -> None:
    scorer = naive.scorer(hybrid(family), memory=memory)
    masks = naive.drawn(10)
    loop = naive.by_mean if operator == "mean" else left_out
    found = measure(scorer, [naive.span_of_all(scorer)], masks, operator=operator)
    np.testing.assert_allclose(found.tokens, loop(scorer, masks), atol=1e-5)
    assert np.abs(found.tokens - scorer.full).max() > 0.01


def test_what_is_left_out_was_never_there() -> None:
    """Of a model without positions, the shorter text gives the same."""
    scorer = made("jamba")
    masks = naive.drawn(6)
    found = ablated_logprobs(scorer, masks).float()
    ids = naive.inputs()["input_ids"]
    for mask, values in zip(masks, found, strict=True):
        with torch.no_grad():
            logits = scorer.model(input_ids=ids[:, naive.kept(scorer, mask)]).logits
        torch.testing.assert_close(values, naive.of_response(logits), atol=1e-5, rtol=0)


def test_windows_beside_states_are_refused() -> None:
    scorer = naive.scorer(hybrid("recurrent-gemma", attention_window_size=8))
    assert scorer.recurrent
    assert not scorer.reach.full
    with pytest.raises(NotSupportedError, match=r"use the operator 'mean', or for text 'drop'"):
        ablated_logprobs(scorer, naive.drawn(2))
    masks = naive.drawn(4)
    found = ablated_logprobs(scorer, masks, operator="mean")
    np.testing.assert_allclose(found, naive.by_mean(scorer, masks), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_hidden_from_a_state_in_part(family: str) -> None:
    scorer = made(family)
    assert scorer.recurrent
    with pytest.raises(NotSupportedError, match="a unit cannot be hidden in part"):
        MaskGradient().effects(scorer, list(naive.SPANS))


def test_a_model_without_states_shares_its_prefixes() -> None:
    assert not naive.scorer(tiny("llama")).recurrent
