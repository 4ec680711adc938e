"""Side inputs, which deeper layers get beside the embeddings, are measured with as they are fed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace.ablation import ablated_logprobs, measure
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.signals.captum.gradients import InputXGradient
from omnitrace.signals.mask_gradient import MaskGradient, softly_hidden
from tests.helpers import naive_ablation as naive
from tests.helpers.side_input_models import (
    TEXT_FAMILIES,
    picture_scorer,
    qwen3_omni,
    qwen3_vl_moe,
    scorers,
    with_response,
)
from tests.helpers.tiny_multimodal_models import qwen3_vl

FAMILIES = [*TEXT_FAMILIES, "qwen3-vl"]


@functools.cache
def made(name: str) -> ResponseScorer:
    return scorers(name, dtype=torch.float64)


def from_ids(scorer: ResponseScorer, name: str) -> torch.Tensor:
    """Return the response's log-probabilities as the model computes them by itself."""
    given = naive.inputs() if name in TEXT_FAMILIES else with_response(qwen3_vl()[1])
    with torch.no_grad():
        return naive.of_response(scorer.model(**given).logits, scorer.response)


def recorded(name: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the embeddings, and the side inputs by layer, as the decoder itself is given them."""
    scorer = made(name)
    model = scorer.model
    if name in TEXT_FAMILIES:
        ids = naive.inputs()["input_ids"]
        embeddings = model.get_input_embeddings()(ids)
        more = [None] if name.startswith("gemma-4") else []  # the embeddings, not looked at
        looked_up = model.model.get_per_layer_inputs(ids, *more)
        return embeddings[0].detach(), {"per_layer": looked_up[0]}
    inputs = with_response(qwen3_vl()[1])
    picture = model.model.get_image_features(
        inputs["pixel_values"].double(), inputs["image_grid_thw"], return_dict=True
    )
    there = inputs["input_ids"][0] == model.config.image_token_id
    embeddings = model.get_input_embeddings()(inputs["input_ids"])[0].detach()
    embeddings[there] = torch.cat(list(picture.pooler_output)).detach()
    layers = embeddings.new_zeros(len(there), 2, embeddings.shape[-1])
    by_layer = [torch.cat(list(each)) for each in picture.deepstack_features]
    layers[there] = torch.stack(by_layer, dim=1).detach()
    return embeddings, {"deepstack": layers}


def alone(name: str, mask: np.ndarray, operator: str) -> torch.Tensor:
    """Run one mask whole, with the family's own arguments."""
    scorer = made(name)
    model = scorer.model
    embeddings, side = recorded(name)
    visible = torch.ones(1, len(embeddings), dtype=torch.long)
    of = scorer.unit_of
    gone = torch.from_numpy(np.append(~mask, False))[of]
    if operator == "attention":
        visible[0, gone] = 0
    else:
        for modality in set(scorer.modalities):
            same = torch.tensor([each == modality for each in scorer.modalities] + [False])[of]
            for value in (embeddings, *side.values()):
                value[same & gone] = value[same].mean(dim=0)
    given: dict[str, Any] = {
        "inputs_embeds": embeddings[None],
        "attention_mask": visible,
        "position_ids": scorer.positions[..., None, :],
    }
    if "per_layer" in side:
        given["per_layer_inputs"] = side["per_layer"][None]
    else:
        given["visual_pos_masks"] = visible.bool() | True
        given["deepstack_visual_embeds"] = list(side["deepstack"].unbind(1))
    with torch.no_grad():
        output = model.get_decoder()(**given)
        logits = model.get_output_embeddings()(output.last_hidden_state)
        cap = getattr(model.config, "final_logit_softcapping", None)
        logits = logits if cap is None else torch.tanh(logits / cap) * cap
    return naive.of_response(logits, scorer.response)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_fed_gives_the_models_own_logprobs(name: str) -> None:
    scorer = made(name)
    expected = from_ids(scorer, name)
    close = functools.partial(torch.testing.assert_close, atol=1e-6, rtol=0)
    close(torch.from_numpy(scorer.full), expected)
    close(scorer.logprobs(scorer.embeddings)[0], expected)
    embeddings, side = recorded(name)
    beside = [value.flatten(1) for value in side.values()]
    close(scorer.embeddings[0], torch.cat([embeddings, *beside], dim=-1))


@pytest.mark.parametrize("operator", ["mean", "attention"])
@pytest.mark.parametrize("name", FAMILIES)
def test_shared_prefixes_give_what_each_mask_gives_alone(name: str, operator: str) -> None:
    scorer = made(name)
    masks = naive.drawn(12, len(scorer.units))
    expected = torch.stack([alone(name, mask, operator) for mask in masks])
    spans = [naive.span_of_all(scorer)]
    whole, shared = (
        torch.from_numpy(measure(scorer, spans, masks, operator=operator, share=share).tokens)
        for share in (False, True)
    )
    torch.testing.assert_close(whole.float(), expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(shared, whole, atol=1e-6, rtol=0)
    assert float((expected - torch.from_numpy(scorer.full)).abs().max()) > 0.01


@pytest.mark.parametrize("name", FAMILIES)
def test_units_are_softly_hidden(name: str) -> None:
    scorer = made(name)
    keep = torch.from_numpy(naive.drawn(3, len(scorer.units)))
    with torch.no_grad():
        found = torch.stack([softly_hidden(scorer, each.float()) for each in keep])
    expected = ablated_logprobs(scorer, keep, operator="attention").float()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    spans = [naive.SPANS[0]]
    assert any(effect.value for effect in MaskGradient().effects(scorer, spans)[0].values())


def by_hand(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the model's own function of embeddings and side inputs, differentiable."""
    scorer = made(name)
    model, width = scorer.model, scorer.model.get_input_embeddings().weight.shape[1]

    def function(fed: torch.Tensor) -> torch.Tensor:
        side = fed[0, :, width:]
        given: dict[str, Any] = {"inputs_embeds": fed[..., :width]}
        if name in TEXT_FAMILIES:
            given["per_layer_inputs"] = side.unflatten(-1, (4, 8))[None]
        else:
            given["position_ids"] = scorer.positions[:, None]
            given["visual_pos_masks"] = torch.ones(fed.shape[:2], dtype=torch.bool)
            given["deepstack_visual_embeds"] = list(side.unflatten(-1, (2, width)).unbind(1))
        hidden = model.get_decoder()(**given).last_hidden_state
        logits = model.get_output_embeddings()(hidden)
        cap = getattr(model.config, "final_logit_softcapping", None)
        logits = logits if cap is None else torch.tanh(logits / cap) * cap
        return naive.of_response(logits, scorer.response)

    return function


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_the_side_inputs_too(name: str) -> None:
    pytest.importorskip("captum")
    scorer = made(name)
    fed = scorer.embeddings.clone().requires_grad_()
    span = naive.SPANS[0]
    by_hand(name)(fed)[span.token_start : span.token_end].sum().backward()
    assert fed.grad is not None
    per_position = (fed.grad * scorer.embeddings).sum(dim=-1)[0]
    effects = InputXGradient().effects(scorer, [span])[0]
    for unit in scorer.source_units:
        expected = float(per_position[list(unit.positions)].sum())
        assert effects[unit.id].value == pytest.approx(expected, abs=1e-5)


def test_rows_that_run_at_once_agree() -> None:
    model, inputs = qwen3_vl()
    few, many = picture_scorer(model, inputs, memory=1), picture_scorer(model, inputs)
    assert (few.rows(), many.rows()) == (1, 64)
    keep = torch.from_numpy(naive.drawn(9, 4, seed=3))
    one, other = (ablated_logprobs(each, keep, operator="mean") for each in (few, many))
    torch.testing.assert_close(one, other, atol=2e-6, rtol=0)


@pytest.mark.parametrize("family", [qwen3_vl_moe, qwen3_omni])
@pytest.mark.parametrize("operator", ["mean", "attention"])
def test_families_with_experts(family: Any, operator: str) -> None:
    """Experts run in single precision at most."""
    model, inputs = family()
    scorer = picture_scorer(model, inputs)
    assert scorer.embeddings.shape[-1] == 32 + 2 * 32
    with torch.no_grad():
        own = naive.of_response(model(**with_response(inputs)).logits, scorer.response)
    np.testing.assert_allclose(scorer.full, own, atol=2e-6)
    masks = naive.drawn(12, 4)
    spans = [naive.span_of_all(scorer)]
    shared, whole = (
        measure(scorer, spans, masks, operator=operator, share=share) for share in (True, False)
    )
    np.testing.assert_allclose(shared.tokens, whole.tokens, atol=2e-6)
    assert np.abs(whole.drops).max() > 0.01
