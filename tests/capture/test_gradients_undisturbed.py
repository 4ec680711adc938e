"""A model is as it was after its gradients were read, whatever went wrong; and nothing lingers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import DynamicCache

from omnitrace import Tracer
from omnitrace.errors import NotSupportedError
from tests.helpers.attention_gradients import generate, gradient_capture, stepwise, untraced
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.side_input_models import gemma3n, gemma4
from tests.helpers.tiny_models import PROMPT, tiny

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def half_trained() -> Any:
    """Make a model of which some parameters want gradients."""
    model = tiny("llama")
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 3 == 0)
    return model


def traces(model: nn.Module) -> dict[str, Any]:
    """Describe all that a capture touches beside what ``state`` describes."""
    return {
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad": [name for name, p in model.named_parameters() if p.grad is not None],
        "hooks": {
            (name, kind): len(getattr(module, kind))
            for name, module in model.named_modules()
            for kind in _HOOKS
        },
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
    }


def test_everything_is_restored() -> None:
    model, cache = half_trained(), DynamicCache()
    before = state(model), traces(model)
    expected = untraced(model, PROMPT, 5)
    ids, _ = stepwise(model, PROMPT, 5, past_key_values=cache)
    assert ids == expected
    assert_unchanged(model, before[0])
    assert traces(model) == before[1]
    assert "update" not in cache.__dict__
    for layer in cache.layers:
        assert not layer.keys.requires_grad
        assert not layer.values.requires_grad


class BrokenError(Exception):
    """Raised on purpose."""


@pytest.mark.parametrize("call", [1, 2, 3, 5], ids=["prefill", "first token", "a step", "later"])
def test_everything_is_restored_after_an_exception_in_a_layer(call: int) -> None:
    model, cache = half_trained(), DynamicCache()
    calls = 0

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise BrokenError

    handle = model.model.layers[1].register_forward_hook(fail)
    before = state(model), traces(model)
    with pytest.raises(BrokenError):
        stepwise(model, PROMPT, 6, past_key_values=cache)
    assert_unchanged(model, before[0])
    assert traces(model) == before[1]
    assert "update" not in cache.__dict__
    handle.remove()
    assert stepwise(model, PROMPT, 3)[0] == untraced(model, PROMPT, 3)


@pytest.mark.parametrize("token", [1, 2, 4])
def test_everything_is_restored_after_an_exception_in_the_streamer(token: int) -> None:
    model, cache = half_trained(), DynamicCache()
    capture = gradient_capture(model, PROMPT)
    pushed = 0

    def push(token_id: int) -> None:
        nonlocal pushed
        pushed += 1
        if pushed == token:
            raise BrokenError
        capture.select(token_id)

    before = state(model), traces(model)
    with pytest.raises(BrokenError):
        generate(model, PROMPT, capture, push, max_new_tokens=6, past_key_values=cache)
    assert_unchanged(model, before[0])
    assert traces(model) == before[1]
    assert "update" not in cache.__dict__


@pytest.mark.parametrize("events", [1, 4])
@pytest.mark.parametrize("signal", ["grad-sam", "grad-sam-last"])
def test_everything_is_restored_after_a_stream_that_is_broken_off(
    reference: Tracer, signal: str, events: int
) -> None:
    model = reference.adapter.model
    first = next(model.parameters())
    first.requires_grad_(False)
    try:
        before = state(model), traces(model)
        messages = [{"role": "user", "content": "The cup weighs nine grams. What does it weigh?"}]
        tracer = Tracer(adapter=reference.adapter, signal=signal)
        with tracer.stream(messages, max_new_tokens=200, min_new_tokens=200) as stream:
            for _ in range(events):
                next(stream)
        assert_unchanged(model, before[0])
        assert traces(model) == before[1]
    finally:
        first.requires_grad_(True)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_the_callers_grad_mode_does_not_matter(mode: Callable[[], Any]) -> None:
    model = tiny("llama")
    _, expected = stepwise(model, PROMPT, 3)
    with mode():
        before = torch.is_grad_enabled()
        _, found = stepwise(model, PROMPT, 3)
        assert torch.is_grad_enabled() == before
    for ours, theirs in zip(found, expected, strict=True):
        for (row, gradient), other in zip(ours, theirs, strict=True):
            assert torch.equal(row, other[0])
            assert torch.equal(gradient, other[1])


class Kept:
    """Stands for one tensor that autograd keeps for a backward pass."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def test_nothing_of_a_step_outlives_it() -> None:
    """After each backward no tensor is kept for another, and no tensor has a graph."""
    model = tiny("llama")
    capture = gradient_capture(model, PROMPT)
    kept: weakref.WeakSet[Kept] = weakref.WeakSet()
    during, after, graphs, logits = [], [], [], []

    def pack(tensor: torch.Tensor) -> Kept:
        holder = Kept(tensor)
        kept.add(holder)
        return holder

    def push(token_id: int) -> None:
        during.append(len(kept))
        if capture._logits is not None:
            logits.append(weakref.ref(capture._logits))
        capture.select(token_id)
        list(capture.rows(1))
        capture.drop(1)
        after.append(len(kept))
        gc.collect()
        alive = [each for each in gc.get_objects() if type(each) is torch.Tensor]
        graphs.append(sum(each.grad_fn is not None for each in alive))

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda holder: holder.tensor):
        generate(model, PROMPT, capture, push, max_new_tokens=6)
    assert during[0] == 0  # the prefill leaves no graph
    assert all(count > 20 for count in during[1:])
    assert after == [0] * 6
    assert graphs == [graphs[0]] * 6
    assert len(logits) == 5
    assert not any(reference() is not None for reference in logits)
    assert all(tap.prompt is None and not tap.steps for tap in capture.taps)


def test_the_first_token_does_not_copy_the_prompts_keys() -> None:
    model, cache = tiny("llama"), DynamicCache()
    capture = gradient_capture(model, PROMPT)
    shared = []

    def push(token_id: int) -> None:
        if not shared:
            owner = {layer.keys.untyped_storage().data_ptr() for layer in cache.layers}
            prompts = [tap.prompt for tap in capture.taps if tap.prompt is not None]
            shared.extend(key.untyped_storage().data_ptr() in owner for key, _ in prompts)
        capture.select(token_id)

    generate(model, PROMPT, capture, push, max_new_tokens=2, past_key_values=cache)
    assert shared == [True] * 3


def test_the_prompts_keys_are_let_go_after_the_first_token() -> None:
    """Else a long prompt's cache is there twice as soon as the model's own one has grown."""
    model = tiny("llama")
    capture = gradient_capture(model, PROMPT)
    prompts: list[weakref.ref[torch.Tensor]] = []
    alive = []

    def push(token_id: int) -> None:
        if not prompts:
            prompts.extend(weakref.ref(each) for tap in capture.taps for each in tap.prompt or ())
        capture.select(token_id)
        alive.append(sum(each() is not None for each in prompts))

    gc.disable()  # nothing may wait for it
    try:
        generate(model, PROMPT, capture, push, max_new_tokens=3)
    finally:
        gc.enable()
    assert len(prompts) == 6
    assert alive == [0, 0, 0]


def test_decoding_without_a_cache_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="with a cache, one token a step"):
        stepwise(tiny("llama"), PROMPT, 3, use_cache=False)


def test_a_prefill_in_chunks_that_a_window_forgets_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="only a part of the prompt's keys in layer 0"):
        stepwise(tiny("mistral-sliding"), PROMPT, 3, prefill_chunk_size=3)


@pytest.mark.parametrize("family", [gemma3n, gemma4])
def test_layers_that_share_keys(family: Any) -> None:
    model = family(shared=2)
    before = state(model), traces(model)
    stepwise(model, PROMPT, 3)
    assert_unchanged(model, before[0])
    assert traces(model) == before[1]
