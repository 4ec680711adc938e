"""Features are what eager attention shows, summed by hand."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnitrace import InputError, Trace, Tracer
from omnitrace.capture.attention_hooks import AttentionCall, attention_modules, tapped
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.capture.replay import ReplayCapture
from omnitrace.estimator.collect import FeatureReader
from omnitrace.estimator.features import (
    MODALITIES,
    OFFSETS,
    FeatureRecipe,
    RowReducer,
    pooled,
    with_mask_gradient,
    with_offsets,
)
from tests.helpers.estimator_training import request_of
from tests.helpers.naive_ablation import PROMPT, RESPONSE, UNITS
from tests.helpers.text_adapters import text_adapter
from tests.helpers.tiny_models import tiny

LAYERS = (0, 1, 2)


def captured(model: Any, *, block: int, recipe: FeatureRecipe) -> torch.Tensor:
    """Reduce the rows of the response in blocks, as a replay hands them out."""
    modules = attention_modules(model.get_decoder())
    layers = recipe.chosen(LAYERS)
    capture = ReplayCapture(layers, len(PROMPT), values=recipe.values)
    with tapped(model, [modules[i] for i in layers], capture.taps), torch.no_grad():
        model(input_ids=torch.tensor([PROMPT + RESPONSE[:-1]]), use_cache=False)
    parts, reduce = [], RowReducer(UNITS, recipe)
    for first in range(0, len(RESPONSE), block):
        steps = min(block, len(RESPONSE) - first)
        parts.append(reduce(capture.rows(steps)))
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


def rollout_by_hand(model: Any) -> np.ndarray:
    """Follow eager attention to earlier tokens of the answer, one token after the other."""
    model.set_attn_implementation("eager")
    ids = torch.tensor([PROMPT + RESPONSE[:-1]])
    with torch.no_grad():
        out = model(input_ids=ids, output_attentions=True, use_cache=False)
    heads = torch.stack(out.attentions)[:, 0].flatten(0, 1).double().numpy()  # [features, n, n]
    evidence: list[np.ndarray] = []
    found = np.zeros((len(RESPONSE), len(heads), len(UNITS)))
    for t in range(len(RESPONSE)):
        rows = heads[:, len(PROMPT) - 1 + t]
        for s, rests_on in enumerate(evidence):
            found[t] += rows[:, len(PROMPT) + s, None] * rests_on
        direct = np.stack([rows[:, list(unit)].sum(axis=1) for unit in UNITS], axis=1)
        total = (direct + found[t]).mean(axis=0)
        evidence.append(total / total.sum())
    return found


@pytest.mark.parametrize("block", [1, 3, 16])
def test_rollout_follows_earlier_tokens(block: int) -> None:
    found = captured(tiny("llama"), block=block, recipe=FeatureRecipe(rollout=True)).numpy()
    direct, through = np.split(found, 2, axis=1)
    np.testing.assert_allclose(direct, by_hand(tiny("llama"), FeatureRecipe()), atol=2e-6)
    np.testing.assert_allclose(through, rollout_by_hand(tiny("llama")), atol=2e-6)
    assert not through[0].any()  # nothing is before the first token
    assert through[1:].any()


def test_the_maximum_over_a_span() -> None:
    reduced = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])
    raw = FeatureRecipe(pooling="max", normalise="raw")
    np.testing.assert_array_equal(pooled(reduced, raw), [[1.0, 3.0]])
    np.testing.assert_array_equal(pooled(reduced, FeatureRecipe(pooling="max")), [[0.25, 0.75]])


@pytest.mark.parametrize("recipe", [FeatureRecipe(values=True), FeatureRecipe(rollout=True)])
def test_blocks_change_nothing(recipe: FeatureRecipe) -> None:
    whole, ones = (captured(tiny("llama"), block=block, recipe=recipe) for block in (16, 1))
    torch.testing.assert_close(whole, ones, atol=1e-6, rtol=1e-5)


def test_values_weigh_each_position_by_its_norm() -> None:
    weights = torch.rand(2, 3, 10, generator=torch.Generator().manual_seed(0))
    norms = torch.arange(20.0).reshape(2, 10)
    rows = [LayerRows(0, lambda reuse: weights, value_norms=lambda: norms)]
    found = RowReducer([(1, 4), (2,)], FeatureRecipe(values=True))(rows)
    expected = weights[:, :, 1] * norms[:, None, 1] + weights[:, :, 4] * norms[:, None, 4]
    torch.testing.assert_close(found[:, :, 0], expected.T)
    torch.testing.assert_close(found[:, :, 1], (weights[:, :, 2] * norms[:, None, 2]).T)


def test_no_units_give_no_columns() -> None:
    rows = [LayerRows(0, lambda reuse: torch.ones(2, 3, 5))]
    assert RowReducer([], FeatureRecipe())(rows).shape == (3, 2, 0)


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


class _Biased:
    """Attention by hand, with a bias on the logits that log-probabilities are differentiated by."""

    def __init__(self, length: int) -> None:
        self.bias = torch.zeros(4, length, length, requires_grad=True)

    def __call__(self, call: AttentionCall) -> torch.Tensor:
        shared = call.query.shape[1] // call.key.shape[1]
        key, value = (each.repeat_interleave(shared, dim=1) for each in (call.key, call.value))
        logits = call.query @ key.transpose(2, 3) * call.scale + self.bias
        later = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
        rows = torch.softmax(logits.masked_fill(later, -torch.inf), dim=-1)
        return (rows @ value).transpose(1, 2).contiguous()


def hiding_by_hand(tracer: Tracer, trace: Trace) -> np.ndarray:
    """Differentiate each token's log-probability by biases in the row that predicts it."""
    model, prompt = tracer.adapter.model, len(trace.prompt_ids)
    ids = torch.tensor([[*trace.prompt_ids, *trace.token_ids[:-1]]])
    modules = attention_modules(tracer.adapter.decoder)
    biased = [_Biased(ids.shape[1]) for _ in modules]
    with torch.enable_grad(), tapped(model, modules, biased):
        logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0], dim=-1)
    found = []
    for t, token in enumerate(trace.token_ids):
        row = prompt - 1 + t
        by = torch.autograd.grad(logprobs[row, token], [b.bias for b in biased], retain_graph=True)
        heads = torch.cat([each[:, row] for each in by])
        units = [heads[:, list(unit.positions)].sum(dim=1) for unit in trace.units]
        found.append(torch.stack(units, dim=1).numpy())
    return np.stack(found)


@pytest.mark.parametrize("values", [False, True])
def test_gradients_are_those_by_a_bias_on_a_units_logits(values: bool) -> None:
    tracer = Tracer(adapter=text_adapter())
    request = request_of(1)
    trace = tracer.replay(request.messages, request.response)
    units = [unit.positions for unit in trace.units]
    expected = hiding_by_hand(tracer, trace)
    heads = expected.shape[1]

    def read(recipe: FeatureRecipe) -> np.ndarray:
        reader = FeatureReader(recipe, sorted(tracer.setup.layers))
        reader.start(units)
        Tracer(adapter=tracer.adapter, signal=reader).replay(request.messages, trace.token_ids)
        return reader.finish().numpy()

    plain = read(FeatureRecipe(values=values))
    told = read(FeatureRecipe(values=values, gradients="heads"))
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(told[:, heads:], expected, atol=1e-6, rtol=1e-3)
    np.testing.assert_allclose(told[:, :heads], plain, atol=1e-6, rtol=1e-4)
    total = read(FeatureRecipe(values=values, gradients="total"))
    np.testing.assert_allclose(total[:, heads:], expected.sum(axis=1, keepdims=True), atol=1e-5)


def test_what_gradients_tell_is_scaled_and_added_up() -> None:
    # Two tokens, a head and its gradients, two units.
    reduced = torch.tensor([[[1.0, 3.0], [3.0, -1.0]], [[3.0, 1.0], [0.0, -3.0]]])
    heads = pooled(reduced, FeatureRecipe(gradients="heads", pooling="max"))
    np.testing.assert_allclose(heads, [[0.5, 0.5], [0.6, -0.8]])
    total = pooled(reduced, FeatureRecipe(gradients="total"))
    np.testing.assert_allclose(total, [[0.5, 0.5], [3 / 7, -4 / 7]])
    raw = pooled(reduced, FeatureRecipe(gradients="total", normalise="raw"))
    np.testing.assert_allclose(raw, [[2.0, 2.0], [3.0, -4.0]])


def test_what_a_mask_tells_is_scaled_and_comes_last() -> None:
    features = np.array([[0.25, 0.75]], dtype=np.float32)
    told = np.array([3.0, -1.0])
    shares = with_mask_gradient(features, told, FeatureRecipe(mask_gradient=True))
    np.testing.assert_allclose(shares, [[0.25, 0.75], [0.75, -0.25]])
    raw = with_mask_gradient(features, told, FeatureRecipe(mask_gradient=True, normalise="raw"))
    np.testing.assert_allclose(raw, [[0.25, 0.75], [3.0, -1.0]])
    nothing = with_mask_gradient(features, np.zeros(2), FeatureRecipe(mask_gradient=True))
    np.testing.assert_allclose(nothing, [[0.25, 0.75], [0.0, 0.0]])


def test_recipes_say_what_they_need() -> None:
    assert FeatureRecipe().needs == {"rows"}
    assert FeatureRecipe(mask_gradient=True).needs == {"rows"}
    assert FeatureRecipe(values=True, gradients="total").needs == {
        "rows",
        "values",
        "logprob-gradients",
    }


@pytest.mark.parametrize("rollout", [False, True])
def test_bits_do_not_depend_on_the_number_of_threads(rollout: bool) -> None:
    # A single row of many positions is what BLAS shares among threads.
    generator = torch.Generator().manual_seed(0)
    rows = torch.softmax(torch.randn(9, 1, 3000, generator=generator), dim=-1)
    units = [range(first, first + 170) for first in range(0, 2890, 170)]
    recipe = FeatureRecipe(rollout=rollout)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            reduce = RowReducer(units, recipe)
            found.append(reduce([LayerRows(0, lambda reuse: rows)]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_unit_without_positions_gets_nothing() -> None:
    rows = torch.softmax(torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(1)), dim=-1)
    units = [[], [0, 1], [], [4, 5, 6], []]
    found = RowReducer(units, FeatureRecipe())([LayerRows(0, lambda reuse: rows)])
    assert found.shape == (3, 2, 5)
    assert found[:, :, [0, 2, 4]].eq(0).all()
    expected = rows[:, :, [4, 5, 6]].sum(dim=-1).transpose(0, 1)
    torch.testing.assert_close(found[:, :, 3], expected)
