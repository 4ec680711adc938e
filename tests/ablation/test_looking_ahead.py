"""Pictures whose tokens see what is behind them: nothing of them is shared, nothing soft."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from omnitrace import NotSupportedError
from omnitrace.ablation import measure
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.signals.mask_gradient import MaskGradient
from tests.helpers import naive_ablation as naive
from tests.helpers.attention_gradients import assert_exact, stepwise, untraced
from tests.helpers.gemma_vision import gemma3, gemma4
from tests.helpers.side_input_models import Units, picture_scorer, with_response

FAMILIES = {"gemma-3": gemma3, "gemma-4": gemma4, "gemma-4-causal": lambda: gemma4(ahead=False)}


@functools.cache
def made(family: str) -> ResponseScorer:
    model, inputs = FAMILIES[family]()
    last = int((inputs["input_ids"][0] == 92).nonzero().max())
    units: Units = (
        ("text", (1, 2)),
        ("image", (4, 5)),
        ("image", tuple(range(6, last + 1))),
        ("text", (last + 2, last + 3)),
    )
    return picture_scorer(model.double(), inputs, units)


def by_the_model(family: str, masks: np.ndarray) -> np.ndarray:
    """Run each mask whole on the request itself, hidden by the model's own padding mask."""
    scorer = made(family)
    given = with_response(FAMILIES[family]()[1])
    length = given["input_ids"].shape[1]
    found = []
    for mask in masks:
        visible = naive.kept(scorer, mask).long()[None]
        with torch.no_grad():
            output = scorer.model(
                **given | {"attention_mask": visible},
                position_ids=torch.arange(length)[None],
                use_cache=False,
            )
        found.append(naive.of_response(output.logits, scorer.response))
    return torch.stack(found).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_how_far_it_looks_is_seen(family: str) -> None:
    scorer = made(family)
    assert scorer.reach.causal == (family == "gemma-4-causal")
    assert not scorer.recurrent
    expected = by_the_model(family, np.ones((1, 4), dtype=bool))[0]
    np.testing.assert_allclose(scorer.full, expected, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_effects_equal_a_loop_of_whole_passes(family: str) -> None:
    scorer = made(family)
    masks = np.array([[bool(code & 1 << unit) for unit in range(4)] for code in range(16)])
    spans = [naive.span_of_all(scorer)]
    found = measure(scorer, spans, masks)
    np.testing.assert_allclose(found.tokens, by_the_model(family, masks), atol=1e-6)
    assert np.abs(found.drops).max() > 0.01
    meant = measure(scorer, spans, masks, operator="mean")
    np.testing.assert_allclose(meant.tokens, naive.by_mean(scorer, masks), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_part_of_what_looks_ahead_is_hidden(family: str) -> None:
    scorer = made(family)
    spans = [naive.span_of_all(scorer)]
    if scorer.reach.causal:
        assert any(effect.value for effect in MaskGradient().effects(scorer, spans)[0].values())
        return
    with pytest.raises(NotSupportedError, match="lets positions look ahead"):
        MaskGradient().effects(scorer, spans)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_the_response(family: str) -> None:
    """Its own positions look back alone, whatever a picture's do."""
    model, inputs = FAMILIES[family]()
    model = model.double()
    settings = {"suppress_tokens": [90, 91, 92, 93, 94, 95]}
    ids, found = stepwise(model, inputs, 4, **settings)
    assert ids == untraced(model, inputs, 4, **settings)
    assert_exact(found, model, inputs, ids)
