"""A traced model is left exactly as it was found, and a model that cannot be traced is refused."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

from omnitrace.capture import attention_hooks as interface
from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.exclusive import model_lock
from omnitrace.capture.probe import probe
from omnitrace.errors import ModelError, NotSupportedError
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.tiny_models import FAMILIES, tiny


def test_everything_is_restored() -> None:
    model = tiny("llama")
    before = state(model)
    modules = attention_modules(model.get_decoder())
    capture = RowCapture(range(3), 4)
    with tapped(model, modules, capture.taps):
        assert model.config._attn_implementation == "omnitrace_sdpa"
        with torch.no_grad():
            model(torch.tensor([[1, 2, 3, 4]]))
    assert len(capture.taps[0].steps) == 1
    assert_unchanged(model, before)


def test_everything_is_restored_after_an_exception() -> None:
    model = tiny("llama")
    before = state(model)
    modules = attention_modules(model.get_decoder())

    def broken(call: interface.AttentionCall) -> None:
        raise RuntimeError("tap")

    with pytest.raises(RuntimeError, match="tap"), tapped(model, modules, [broken] * 3):
        model(torch.tensor([[1, 2, 3, 4]]))
    assert_unchanged(model, before)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_probe_accepts_families_that_use_the_interface(family: str) -> None:
    model = tiny(family)
    before = state(model)
    layers = probe(model, model.get_decoder(), what=family)
    assert [index for index, _ in layers] == [0, 1, 2]
    assert_unchanged(model, before)


def test_a_family_that_bypasses_the_interface_is_refused() -> None:
    config = tf.BloomConfig(vocab_size=96, hidden_size=32, n_layer=2, n_head=4)
    model = tf.BloomForCausalLM(config).eval()
    with pytest.raises(ModelError, match="does not use transformers' attention interface"):
        probe(model, model.get_decoder(), what="bloom")


def test_a_layer_that_changes_the_rows_behind_our_back_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The probe multiplies rows with values and compares with what the layer put out."""
    model = tiny("llama")
    original = interface._base_function

    def sharpened(base: str, module: nn.Module) -> Any:
        function = original(base, module)
        return lambda m, q, *args, **kwargs: function(m, q * 3, *args, **kwargs)

    monkeypatch.setattr(interface, "_base_function", sharpened)
    with pytest.raises(ModelError):
        probe(model, model.get_decoder(), what="sharpened")


def test_only_the_decoder_is_tapped() -> None:
    from omnitrace.reference.training.build import build_model, build_tokenizer

    model = build_model(build_tokenizer())
    modules = attention_modules(model.get_decoder())
    assert len(modules) == model.config.text_config.num_hidden_layers
    with tapped(model, modules, [lambda call: None] * len(modules)):
        assert model.config.text_config._attn_implementation == "omnitrace_sdpa"
        assert model.config.vision_config._attn_implementation == "sdpa"
        assert model.config.audio_config._attn_implementation == "sdpa"


def test_rope_deltas_are_restored() -> None:
    from omnitrace.reference.training.build import build_model, build_tokenizer

    model = build_model(build_tokenizer()).eval()
    model.model.rope_deltas = torch.tensor([[7]])
    probe(model, model.get_decoder(), what="reference")
    assert torch.equal(model.model.rope_deltas, torch.tensor([[7]]))


def test_rows_that_do_not_match_tokens_are_refused() -> None:
    model = tiny("llama")
    modules = attention_modules(model.get_decoder())
    capture = RowCapture(range(3), 4)
    with tapped(model, modules, capture.taps), torch.no_grad():
        model(torch.tensor([[1, 2, 3, 4]]))
    with pytest.raises(NotSupportedError, match="attended 1 times for 2 tokens"):
        list(capture.rows(2))


def test_one_lock_a_model() -> None:
    a, b = tiny("llama"), tiny("llama")
    assert model_lock(a) is model_lock(a)
    assert model_lock(a) is not model_lock(b)
    held = model_lock(a).held()
    entered = threading.Event()

    def other() -> None:
        with model_lock(a).held():
            entered.set()

    with held:
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.1)
    thread.join(5)
    assert entered.is_set()
