"""Attention in blocks is attention."""

import pytest
import torch

from omnitrace.reference.training import attention
from omnitrace.reference.training.attention import causal_attention, use_blocks
from omnitrace.reference.training.build import build_model, build_tokenizer


@pytest.mark.parametrize("length", [1, 127, 128, 129, 300])
def test_blocks_equal_the_whole(length):
    torch.manual_seed(length)
    query, key, value = (torch.randn(2, 4, length, 32, requires_grad=True) for _ in range(3))
    found = causal_attention(query, key, value, 0.25)
    whole = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=0.25
    )
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
    weight = torch.randn_like(whole)
    ours = torch.autograd.grad((found * weight).sum(), (query, key, value))
    theirs = torch.autograd.grad((whole * weight).sum(), (query, key, value))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("fast", [True, False])
def test_a_model_says_nearly_the_same_in_blocks_and_the_very_same_afterwards(fast, monkeypatch):
    monkeypatch.setattr(attention, "has_fast_bfloat16", lambda: fast)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer).eval()
    ids = torch.randint(0, 500, (2, 200), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits
        use_blocks(model, on=True)
        during = model(input_ids=ids, use_cache=False).logits
        use_blocks(model, on=False)
        after = model(input_ids=ids, use_cache=False).logits
    assert torch.equal(before, after)
    assert (during - before).abs().max() < 0.02 * before.abs().max()
    assert torch.equal(during, before) != fast  # else it is the same kernel
