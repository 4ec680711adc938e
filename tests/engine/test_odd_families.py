"""Families with unusual attention or caches: right, or refused before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import ModelError, NotSupportedError, Tracer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.reference.training.build import build_tokenizer
from tests.helpers.odd_families import deepseek_v3, diffllama, made, minicpm3, zamba2

QUESTION = [
    {"role": "user", "content": "The lamp is red. The cup weighs nine grams. Which colour is it?"}
]


def tracer(model: Any, tokenizer: Any, **options: Any) -> Tracer:
    return Tracer(adapter=CausalLMAdapter(model, tokenizer), **options)


def eager_mean(model: Any, trace: Any) -> np.ndarray:
    """Return what attention-mean is by the attention that the model itself returns."""
    ids = torch.tensor([[*trace.prompt_ids, *trace.token_ids]])
    model.set_attn_implementation("eager")
    with torch.no_grad():
        layers = model(input_ids=ids, output_attentions=True, use_cache=False).attentions
    rows = torch.stack([each[0] for each in layers if each is not None]).mean(dim=(0, 1))
    first = len(trace.prompt_ids) - 1
    return rows[first : first + len(trace.token_ids)].numpy()


@pytest.mark.parametrize("family", [zamba2, deepseek_v3, minicpm3])
def test_rows_are_the_models(family: Any) -> None:
    tokenizer = build_tokenizer()
    model = family(vocab_size=len(tokenizer))
    trace = tracer(model, tokenizer, signal="attention-mean").trace(QUESTION, max_new_tokens=8)
    expected = eager_mean(model, trace)
    np.testing.assert_allclose(trace.scores, expected[:, : trace.scores.shape[1]], atol=1e-5)


def test_layers_that_do_not_know_their_number_have_that_of_their_place() -> None:
    tokenizer = build_tokenizer()
    found = tracer(zamba2(vocab_size=len(tokenizer)), tokenizer)
    assert list(found.setup.layers) == [1, 3, 5]


def test_layers_that_attend_twice_are_refused() -> None:
    tokenizer = build_tokenizer()
    with pytest.raises(ModelError, match="layer 0 of DiffLlamaForCausalLM attends 2 times a pass"):
        tracer(diffllama(vocab_size=len(tokenizer)), tokenizer)


def test_masks_in_blocks_are_refused() -> None:
    tokenizer = build_tokenizer()
    model = made("Llama", vocab_size=len(tokenizer), attention="flex_attention")
    # Compiled, as transformers has it, one pass would take half a minute, by the same masks.
    with (
        torch.compiler.set_stance("force_eager"),
        pytest.raises(ModelError, match=r"the type BlockMask.*attn_implementation='sdpa'"),
    ):
        tracer(model, tokenizer)


@pytest.mark.parametrize("family", [deepseek_v3, minicpm3])
def test_gradients_by_keys_that_are_made_of_latents_are_refused(family: Any) -> None:
    tokenizer = build_tokenizer()
    model = family(vocab_size=len(tokenizer))
    with pytest.raises(NotSupportedError, match="caches something else than the keys"):
        tracer(model, tokenizer, signal="grad-sam")
    chosen = tracer(model, tokenizer)
    with pytest.raises(NotSupportedError, match="caches something else than the keys"):
        chosen.with_options(signal="grad-sam-last")
    assert chosen.trace(QUESTION, max_new_tokens=2).spans
