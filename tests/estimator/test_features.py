"""Features are what eager attention shows, summed by hand."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnitrace import InputError
from omnitrace.capture.interface import attention_modules, tapped
from omnitrace.capture.replay import ReplayCapture
from omnitrace.estimator.features import (
    MODALITIES,
    OFFSETS,
    FeatureRecipe,
    pooled,
    reduced_rows,
    with_offsets,
)
from omnitrace.signals.base import LayerRows
from tests.ablation.naive import PROMPT, RESPONSE, UNITS
from tests.capture.tiny import tiny

LAYERS = (0, 1, 2)


def captured(model: Any, *, block: int, recipe: FeatureRecipe) -> torch.Tensor:
    """Reduce the rows of the response in blocks, as a replay hands them out."""
    modules = attention_modules(model.get_decoder())
    layers = recipe.chosen(LAYERS)
    capture = ReplayCapture(layers, len(PROMPT), values=recipe.values)
    with tapped(model, [modules[i] for i in layers], capture.taps), torch.no_grad():
        model(input_ids=torch.tensor([PROMPT + RESPONSE[:-1]]), use_cache=False)
    parts = []
    for first in range(0, len(RESPONSE), block):
        steps = min(block, len(RESPONSE) - first)
        parts.append(reduced_rows(capture.rows(steps), UNITS, recipe))
        capture.drop(steps)
    return torch.cat(parts)


def by_hand(model: Any, recipe: FeatureRecipe) -> np.ndarray:
    """Take eager attention whole, and walk over it number by number."""
    model.set_attn_implementation("eager")
    ids = torch.tensor([PROMPT + RESPONSE[:-1]])
    with torch.no_grad():
        out = model(input_ids=ids, output_attentions=True, use_cache=False)
    found = np.zeros((len(RESPONSE), 3, 4, len(UNITS)))
    for t in range(len(RESPONSE)):
        for layer in LAYERS:
            for head in range(4):
                row = out.attentions[layer][0, head, len(PROMPT) - 1 + t]
                for unit, positions in enumerate(UNITS):
                    values = [float(row[i]) for i in positions]
                    mean = recipe.reduction == "mean"
                    found[t, layer, head, unit] = sum(values) / (len(values) if mean else 1)
    return found[:, recipe.chosen(LAYERS)].reshape(len(RESPONSE), -1, len(UNITS))


@pytest.mark.parametrize("family", ["llama", "mistral-sliding"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("layers", ["all", (0, 2)])
def test_reductions_equal_eager_attention(
    family: str, reduction: Literal["sum", "mean"], layers: Any
) -> None:
    recipe = FeatureRecipe(reduction=reduction, layers=layers)
    found = captured(tiny(family), block=3, recipe=recipe)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), by_hand(tiny(family), recipe), atol=2e-6)


def test_blocks_change_nothing() -> None:
    recipe = FeatureRecipe(values=True)
    whole, ones = (captured(tiny("llama"), block=block, recipe=recipe) for block in (16, 1))
    torch.testing.assert_close(whole, ones, atol=1e-6, rtol=1e-5)


def test_values_weigh_each_position_by_its_norm() -> None:
    weights = torch.rand(2, 3, 10, generator=torch.Generator().manual_seed(0))
    norms = torch.arange(20.0).reshape(2, 10)
    rows = [LayerRows(0, lambda reuse: weights, value_norms=lambda: norms)]
    found = reduced_rows(rows, [(1, 4), (2,)], FeatureRecipe(values=True))
    expected = weights[:, :, 1] * norms[:, None, 1] + weights[:, :, 4] * norms[:, None, 4]
    torch.testing.assert_close(found[:, :, 0], expected.T)
    torch.testing.assert_close(found[:, :, 1], (weights[:, :, 2] * norms[:, None, 2]).T)


def test_no_units_give_no_columns() -> None:
    rows = [LayerRows(0, lambda reuse: torch.ones(2, 3, 5))]
    assert reduced_rows(rows, [], FeatureRecipe()).shape == (3, 2, 0)


@given(
    tokens=st.integers(1, 4),
    features=st.integers(1, 5),
    units=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_shares_sum_to_one(tokens: int, features: int, units: int, seed: int) -> None:
    reduced = torch.rand(tokens, features, units, generator=torch.Generator().manual_seed(seed))
    reduced[:, 0] = 0.0  # a head that looks at no source
    found = pooled(reduced, FeatureRecipe())
    np.testing.assert_allclose(found.sum(axis=1)[1:], 1.0, atol=1e-5)
    assert (found[0] == 0).all()
    raw = pooled(reduced, FeatureRecipe(normalise="raw"))
    np.testing.assert_allclose(raw, reduced.mean(dim=0).numpy(), atol=1e-6)


def test_a_span_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="no token"):
        pooled(torch.zeros(0, 2, 3), FeatureRecipe())


def test_layers_that_are_not_there() -> None:
    assert FeatureRecipe(layers=(1, 3)).chosen([0, 1, 3]) == [1, 3]
    with pytest.raises(InputError, match=r"\[3, 1\]"):
        FeatureRecipe(layers=(3, 1)).chosen([0, 1, 3])
    with pytest.raises(InputError, match=r"\[2\].*Legal: some of \[0, 1, 3\]"):
        FeatureRecipe(layers=(2,)).chosen([0, 1, 3])


def test_offsets_name_every_modality() -> None:
    features = np.zeros((2, 3, 4), dtype=np.float32)
    found = with_offsets(features, ["text", "video", "text", "audio"])
    assert found.shape == (2, 3 + len(OFFSETS), 4)
    assert (found[:, 3] == 1).all()
    for row, kind in zip(found[0, 4:], MODALITIES, strict=True):
        assert row.tolist() == [kind == each for each in ("text", "video", "text", "audio")]
