"""Effects: the shared path against a loop of whole passes, on several families."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, NotSupportedError, PluginError, Span
from omnitrace.ablation import ablated_logprobs, leave_one_out, measure
from omnitrace.ablation.mask_sequences import sequences_of
from omnitrace.ablation.operators import choose_operators
from omnitrace.signals.mask_gradient import MaskGradient
from tests.helpers import naive_ablation as naive
from tests.helpers.model_state import assert_unchanged, flags_and_hooks, state
from tests.helpers.tiny_models import FAMILIES, tiny

WINDOWED = {name for name in FAMILIES if "window" in name or "sliding" in name or "gemma" in name}


def every_mask(count: int = 40) -> np.ndarray:
    """Masks of all kinds: all, nothing, one left out, random, some of them twice."""
    units = len(naive.UNITS)
    ends = np.array([[True] * units, [False] * units])
    masks = np.concatenate([ends, leave_one_out(units), naive.drawn(count)])
    return np.concatenate([masks, masks[3:6]])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_effects_equal_a_loop_of_whole_passes(family: str) -> None:
    made = naive.family(family)
    masks = every_mask()
    hidden = naive.by_attention(made, masks)
    found = measure(made, naive.SPANS, masks)
    assert made.reach.full == (family not in WINDOWED)
    np.testing.assert_allclose(found.tokens, hidden, atol=1e-4)
    assert np.abs(found.tokens[0] - found.tokens[1]).max() > 0.01
    assert (found.run_tokens < 0.9 * found.naive_tokens) or family in WINDOWED
    assert found.run_tokens < found.naive_tokens
    meant = measure(made, naive.SPANS, masks, operator="mean")
    np.testing.assert_allclose(meant.tokens, naive.by_mean(made, masks), atol=1e-4)
    sums = np.stack([hidden[:, :3].sum(axis=1), hidden[:, 3:].sum(axis=1)], axis=1)
    np.testing.assert_allclose(found.span_logprobs, sums, atol=3e-4)
    np.testing.assert_allclose(found.drops, sums[0] - sums, atol=6e-4)
    assert found.span_tokens.tolist() == [3, 4]
    assert found.sizes.tolist() == [2, 5, 3, 2, 4, 5]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("memory", [1, 2**17, 2**30])
def test_neither_sharing_nor_the_memory_changes_an_effect(share: bool, memory: int) -> None:
    masks = every_mask(60)
    expected = naive.by_attention(naive.family("qwen3"), masks)
    made = naive.scorer(tiny("qwen3"), memory=memory)
    found = measure(made, naive.SPANS, masks, share=share)
    np.testing.assert_allclose(found.tokens, expected, atol=1e-4)


def test_tokens_left_out_are_tokens_hidden() -> None:
    dropped, masked = naive.family("llama"), naive.family("llama")
    masked.reach.full = False
    masks = every_mask()
    chosen = choose_operators(dropped, "attention", masks)
    (_, short), (_, long) = (next(sequences_of(each, masks, chosen)) for each in (dropped, masked))
    length = dropped.embeddings.shape[1]
    assert {len(codes) for codes in long.codes} == {length}
    assert [len(codes) for codes in short.codes] == [
        int(naive.kept(dropped, mask).sum()) for mask in masks
    ]
    found = [ablated_logprobs(each, masks) for each in (dropped, masked)]
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["llama", "gemma3-mixed-window", "gemma2-softcap-eager"])
def test_a_unit_at_the_first_position_can_be_ablated(family: str) -> None:
    made = naive.scorer(tiny(family), units=((0, 1, 2), (5, 6), (9,), (40, 41)))
    masks = ~np.eye(4, dtype=bool)
    masks[1, 0] = masks[3, 0] = False
    found = ablated_logprobs(made, masks)
    np.testing.assert_allclose(found.numpy(), naive.by_attention(made, masks), atol=1e-4)


@pytest.mark.parametrize("operator", ["attention", "mean"])
@pytest.mark.parametrize("family", ["llama", "gemma3-mixed-window"])
def test_a_unit_at_the_last_position_of_a_prompt_without_a_template(
    family: str, operator: str
) -> None:
    """The first token is predicted from it, so that it stays."""
    units = ((0, 1, 2), (5, 6), tuple(range(38, 44)))
    made = naive.scorer(tiny(family), units=units)
    shorter = naive.scorer(tiny(family), units=(*units[:2], units[2][:-1]))
    masks = ~np.eye(3, dtype=bool)
    found, expected = (ablated_logprobs(each, masks, operator=operator) for each in (made, shorter))
    np.testing.assert_array_equal(found, expected)
    (effects,) = MaskGradient().effects(made, naive.SPANS[:1])
    assert effects == MaskGradient().effects(shorter, naive.SPANS[:1])[0]


def test_the_mask_that_keeps_all_has_no_effect_at_all() -> None:
    made = naive.family("llama")
    masks = np.ones((2, 6), dtype=bool)
    for operator in ("attention", "mean"):
        found = measure(made, naive.SPANS, masks, operator=operator)
        assert not found.drops.any()
        assert found.rows == 0  # the scorer ran it when it was made
        plain = naive.by_attention(made, masks[:1])[0]
        np.testing.assert_allclose(found.full, plain, atol=1e-4)
    nothing = measure(made, naive.SPANS, masks[:0])
    assert nothing.tokens.shape == (0, 7)
    assert nothing.drops.shape == (0, 2)


def test_nothing_before_the_first_ablated_position_runs_twice() -> None:
    made = naive.scorer(tiny("llama"), units=((30, 31), (36, 37, 38)))
    masks = np.array([[False, True], [True, False], [False, False]])
    found = measure(made, naive.SPANS, masks)
    length = made.embeddings.shape[1]
    assert found.rows == 3
    # The 30 positions before the first unit run once, whatever is done behind them.
    assert found.run_tokens <= 30 + 3 * (length - 30)
    assert found.naive_tokens == 3 * length


def test_both_operators_can_act_on_the_modalities_of_one_request() -> None:
    made = naive.family("llama")
    masks = naive.drawn(5)
    same = measure(made, naive.SPANS, masks, operator={"text": "mean"})
    assert same.operators == {"text": "mean"}
    np.testing.assert_allclose(same.tokens, naive.by_mean(made, masks), atol=1e-4)


def test_with_foils_effects_are_on_the_difference() -> None:
    foils = [None, 50, None, 51, None, None, 52]
    made = naive.scorer(tiny("llama"), foils=foils)
    masks = every_mask(6)
    found = measure(made, naive.SPANS, masks, operator="mean")
    np.testing.assert_allclose(found.tokens, naive.by_mean(made, masks), atol=1e-4)
    assert not found.tokens[:, 0].any()


def test_the_model_is_left_as_it_was_found_also_after_an_error() -> None:
    model = tiny("llama")
    model.train()
    before, weights = flags_and_hooks(model), state(model)
    made = naive.scorer(model)
    measure(made, naive.SPANS, every_mask(4))

    def broken(*_: Any) -> None:
        raise RuntimeError("a layer")

    assert flags_and_hooks(model) == before
    handle = model.model.layers[2].register_forward_hook(broken)
    with pytest.raises(RuntimeError, match="a layer"):
        measure(made, naive.SPANS, every_mask(4))
    handle.remove()
    assert flags_and_hooks(model) == before
    assert_unchanged(model, weights)


def test_half_precision_runs() -> None:
    made = naive.family("llama", torch.bfloat16)
    masks = every_mask(4)
    found = measure(made, naive.SPANS, masks)
    np.testing.assert_allclose(found.tokens, naive.by_attention(made, masks), atol=0.3)


def test_bad_masks_are_refused_with_what_is_legal() -> None:
    made = naive.family("llama")
    good = naive.drawn(3)
    with pytest.raises(InputError, match=r"shape \(3, 5\).*\[masks, 6 units\].*one column"):
        measure(made, naive.SPANS, good[:, :5])
    with pytest.raises(InputError, match=r"float32 of shape \(3, 6\).*masks > 0.5"):
        measure(made, naive.SPANS, good.astype(np.float32))
    with pytest.raises(InputError, match=r"shape \(6,\).*masks\[None\]"):
        measure(made, naive.SPANS, good[0])
    with pytest.raises(InputError, match="a span of tokens 0 to 9"):
        measure(made, [Span(0, "", 0, 0, 0, 9, 0.0, (), True)], good)


def test_bad_operators_are_refused_with_what_is_legal() -> None:
    made = naive.family("llama")
    good = naive.drawn(3)
    with pytest.raises(PluginError, match=r"unknown operator 'atention'.*mean 'attention'"):
        measure(made, naive.SPANS, good, operator="atention")
    with pytest.raises(InputError, match=r"'grey' acts on image.*text unit 'u0'.*'drop'"):
        measure(made, naive.SPANS, good, operator="grey")
    with pytest.raises(InputError, match=r"no operator is given for text.*add 'text'"):
        measure(made, naive.SPANS, good, operator={"image": "grey"})
    with pytest.raises(PluginError, match="7 is no operator"):
        measure(made, naive.SPANS, good, operator=7)  # type: ignore[arg-type]
    with pytest.raises(NotSupportedError, match=r"'drop' changes the request.*Tracer.scorer"):
        measure(made, naive.SPANS, good, operator="drop")
    made.recurrent, made.reach.full = True, False
    with pytest.raises(NotSupportedError, match="LlamaForCausalLM has layers that look at a part"):
        measure(made, naive.SPANS, good)
