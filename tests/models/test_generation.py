"""Settings of generate() that cannot be used are refused with the fix, before the model runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf

from omnitrace import Tracer
from omnitrace.errors import InputError, ModelError, NotSupportedError
from omnitrace.models.causal_lm import CausalLMAdapter
from tests.helpers.text_adapters import text_adapter
from tests.helpers.tiny_models import tiny

MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The lamp is red."},
            {"type": "text", "text": "What is red?"},
        ],
    }
]


@pytest.mark.parametrize(
    ("given", "said", "fix"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0", ""),
        ({"do_sample": True, "temperature": 0.0}, "temperature is 0", "do_sample=False"),
        ({"do_sample": True, "temperature": -1}, "temperature is -1", "do_sample=False"),
        ({"cache_implementation": "none such"}, "generate() refuses the settings", ""),
        ({"use_audio_in_video": True}, "part of the request", "use_audio_in_video"),
        ({"attention_mask": torch.ones(1, 3)}, "part of the request", "messages"),
        ({"input_ids": torch.ones(1, 3)}, "part of the request", "messages"),
    ],
)
def test_settings_that_cannot_be_used(given: dict[str, Any], said: str, fix: str) -> None:
    tracer = Tracer(adapter=text_adapter(), signal="attention-mean")
    with pytest.raises(InputError) as caught:
        tracer.trace(MESSAGES, **given)
    assert said in caught.value.found
    assert fix in caught.value.fix


def test_a_model_that_computes_no_numbers_is_named_so() -> None:
    own = text_adapter()
    model = tiny("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN") as caught:
        Tracer(adapter=CausalLMAdapter(model, own.tokenizer))
    assert "dtype" in caught.value.fix


def test_the_probe_leaves_the_mode_of_every_module() -> None:
    adapter = text_adapter()
    try:
        adapter.model.eval()
        adapter.model.model.layers[0].train()
        Tracer(adapter=adapter, signal="attention-mean")
        training = [name for name, each in adapter.model.named_modules() if each.training]
        assert training
        assert all(name.startswith("model.layers.0") for name in training)
    finally:
        adapter.model.eval()


def test_a_model_that_was_made_in_inference_mode() -> None:
    own = text_adapter()
    with torch.inference_mode():
        model = type(own.model)(own.model.config).eval()
    adapter = CausalLMAdapter(model, own.tokenizer)
    trace = Tracer(adapter=adapter).trace(MESSAGES, max_new_tokens=2)
    assert trace.token_ids  # nothing is differentiated by default
    with pytest.raises(NotSupportedError, match="inference_mode"):
        Tracer(adapter=adapter, signal="grad-sam")
    with pytest.raises(NotSupportedError, match="inference_mode"):
        Tracer(adapter=adapter, signal="mask-gradient").trace(MESSAGES, max_new_tokens=2)


def gpt2(positions: int) -> CausalLMAdapter:
    """Make GPT-2 with so many learned positions."""
    own = text_adapter()
    config = tf.GPT2Config(
        vocab_size=len(own.tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=positions,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    model = tf.GPT2LMHeadModel(config).eval()
    model.generation_config.eos_token_id = None
    return CausalLMAdapter(model, own.tokenizer)


def test_a_response_ends_with_the_last_learned_position() -> None:
    tracer = Tracer(adapter=gpt2(64), signal="attention-mean")
    trace = tracer.trace(MESSAGES)
    assert 0 < len(trace.prompt_ids) < 64
    assert len(trace.token_ids) == 64 - len(trace.prompt_ids)
    assert len(tracer.trace(MESSAGES, max_new_tokens=2).token_ids) == 2
