"""Gradients of one decoding step against autograd through the whole sequence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf

from omnitrace.capture.attention_hooks import AttentionCall
from omnitrace.capture.attention_rows import attention_rows
from omnitrace.capture.gradients import GradientCapture
from tests.helpers.attention_gradients import (
    assert_exact,
    generate,
    gradient_capture,
    sharp,
    stepwise,
    untraced,
)
from tests.helpers.tiny_models import FAMILIES, PROMPT


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", ["logit", "logprob"])
def test_every_family_step_and_layer(family: str, target: str) -> None:
    """The prompt is longer than the windows of 6, whose caches forget."""
    model = sharp(family)
    ids, found = stepwise(model, PROMPT, 6, target=target)
    assert ids == untraced(model, PROMPT, 6)
    assert_exact(found, model, PROMPT, ids, target=target)


def test_sampled_ids_are_those_of_the_untraced_model() -> None:
    model = sharp("llama")
    settings = {"do_sample": True, "temperature": 1.3, "top_k": 30}
    torch.manual_seed(3)
    expected = untraced(model, PROMPT, 8, **settings)
    torch.manual_seed(3)
    ids, found = stepwise(model, PROMPT, 8, **settings)
    assert ids == expected != untraced(model, PROMPT, 8)
    assert_exact(found, model, PROMPT, ids)


def test_a_processor_changes_the_choice_and_not_the_score() -> None:
    model = sharp("llama")
    first = untraced(model, PROMPT, 1)
    ids, found = stepwise(model, PROMPT, 4, suppress_tokens=first)
    assert ids[0] != first[0]
    assert_exact(found, model, PROMPT, ids, target="logit")


def test_a_contrast_is_the_difference_of_two_log_probabilities() -> None:
    model = sharp("llama")
    foils = [None, 7, None, 11]
    ids, found = stepwise(model, PROMPT, 4, foils=foils)
    for step, foil in enumerate(foils):
        if foil is None:
            assert not any(gradient.any() for _, gradient in found[step])
        else:
            assert_exact(found, model, PROMPT, ids, steps=[step], foil=foil)


@pytest.mark.parametrize("family", ["llama", "mistral-sliding", "gemma3-mixed-window"])
def test_a_static_cache(family: str) -> None:
    model = sharp(family)
    ids, found = stepwise(model, PROMPT, 5, cache_implementation="static")
    assert ids == untraced(model, PROMPT, 5)
    assert_exact(found, model, PROMPT, ids)


def test_a_static_window_that_fills_up_while_the_model_writes() -> None:
    model = sharp("mistral-sliding")
    short = {name: value[:, :4] for name, value in PROMPT.items()}
    ids, found = stepwise(model, short, 6, cache_implementation="static")
    assert_exact(found, model, short, ids)


def test_a_chunked_prefill() -> None:
    model = sharp("llama")
    ids, found = stepwise(model, PROMPT, 4, prefill_chunk_size=3)
    assert_exact(found, model, PROMPT, ids)


@pytest.mark.parametrize("family", ["llama", "mistral-sliding"])
def test_an_attention_mask_that_is_left_out(family: str) -> None:
    model = sharp(family)
    bare = {"input_ids": PROMPT["input_ids"]}
    ids, found = stepwise(model, bare, 4)
    assert ids == untraced(model, PROMPT, 4)
    assert_exact(found, model, PROMPT, ids)


def test_a_padded_prompt() -> None:
    """The first token's step knows the padding, too."""
    model = sharp("llama")
    padded = {name: torch.nn.functional.pad(value, (3, 0)) for name, value in PROMPT.items()}
    ids, found = stepwise(model, padded, 3)
    assert ids == untraced(model, PROMPT, 3)
    assert not any(row[:, :3].any() for layers in found for row, _ in layers)
    bare = [[(row[:, 3:], gradient[:, 3:]) for row, gradient in layers] for layers in found]
    assert_exact(bare, model, PROMPT, ids)


def test_a_prompt_of_one_token() -> None:
    model = sharp("llama")
    one = {name: value[:, :1] for name, value in PROMPT.items()}
    ids, found = stepwise(model, one, 4)
    assert ids == untraced(model, one, 4)
    assert_exact(found, model, one, ids)


def test_bf16_agrees_within_five_percent_of_each_layers_norm() -> None:
    """Against eager bf16, whose own rounding (8 bits of mantissa) is as large."""
    model = sharp("llama", dtype=torch.bfloat16)
    ids, found = stepwise(model, PROMPT, 4)
    assert ids == untraced(model, PROMPT, 4)
    assert_exact(found, model, PROMPT, ids, row_tolerance=2e-2, tolerance=5e-2)


def test_attention_sinks() -> None:
    config = tf.GptOssConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=6,
        pad_token_id=0,
    )
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = tf.GptOssForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("sinks"):
                parameter.normal_()
            elif parameter.dim() > 1:
                parameter.mul_(4)
    model.generation_config.eos_token_id = None
    ids, found = stepwise(model, PROMPT, 4)
    assert float(found[0][0][0].sum(-1).max()) < 1
    assert_exact(found, model, PROMPT, ids)


def test_values_and_gradients_together() -> None:
    model = sharp("llama")
    capture = gradient_capture(model, PROMPT, values=True)
    shapes = []

    def push(token_id: int) -> None:
        capture.select(token_id)
        shapes.append({(*each.value_norms.shape,) for each in capture.rows(1)})
        capture.drop(1)

    generate(model, PROMPT, capture, push, max_new_tokens=3)
    assert shapes == [{(4, 10)}, {(4, 11)}, {(4, 12)}]


@pytest.mark.parametrize("padding", [None, torch.ones(1, 9).long()], ids=["no mask", "padding"])
def test_a_window_that_only_flash_attention_knows(padding: torch.Tensor | None) -> None:
    """FlashAttention has no mask of the window: the row must leave out older keys all the same."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, n, 8, generator=generator) for n in (1, 9, 9))
    call = AttentionCall(
        torch.nn.Identity(),
        query.requires_grad_(),
        key,
        value,
        padding,
        {"sliding_window": 4, "scaling": 0.5},
        torch.zeros(1, 1, 2, 8),
        None,
    )
    capture = GradientCapture([0], [0], 9)
    tap: Any = capture.taps[0]
    capture.state.count.seen, capture.state.capturing = 9, True
    capture.state.replaying_prompt = True  # the call's own token is part of the prompt
    capture.state.fresh[0] = key[:, :, -1:], value[:, :, -1:]
    tap(call).sum().backward()
    assert not tap.row[..., :5].any()
    expected = attention_rows(query, key[:, :, 5:], scale=0.5, visible=[4])
    torch.testing.assert_close(tap.row[..., 5:], expected.detach())
    expected = attention_rows(query, key[:, :, 5:], scale=0.5, visible=[4])
    (by_query,) = torch.autograd.grad((expected @ value[:, :, 5:]).sum(), query)
    torch.testing.assert_close(query.grad, by_query)
