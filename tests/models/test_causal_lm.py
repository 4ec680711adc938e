"""Text models: with and without a chat template, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from omnitrace.errors import InputError
from omnitrace.media import MediaLimits
from omnitrace.models.base import Encoded
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.reference.training.build import build_tokenizer
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import TextTokens
from tests.helpers import smollm2

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def adapter_of(tokenizer: Any, context: int = 64) -> CausalLMAdapter:
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=context,
    )
    return CausalLMAdapter(LlamaForCausalLM(config), tokenizer, source="tiny")


def templated() -> CausalLMAdapter:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return adapter_of(tokenizer)


BARE, TEMPLATED = adapter_of(build_tokenizer()), templated()


def encode(adapter: CausalLMAdapter, messages: Any, **options: Any) -> Encoded:
    settled = SourceOptions(**options)
    conversation = read_messages(messages, options=settled, limits=MediaLimits())
    return adapter.encode(conversation, settled)


def decoded(adapter: CausalLMAdapter, encoded: Encoded) -> str:
    text: str = adapter.tokenizer.decode(list(encoded.prompt_ids))
    return text


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **more}


def quotes(encoded: Encoded) -> dict[int, str]:
    """Spell each part by the characters of its tokens."""
    found = {}
    for tokens in encoded.geometry:
        assert isinstance(tokens, TextTokens)
        spelled = "".join(tokens.part.text[a:b] for a, b in tokens.ranges)
        found[10 * tokens.part.message + tokens.part.part] = spelled
    return found


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [text("The lamp is red."), text("Which lamp?")]},
]


def test_with_a_chat_template():
    encoded = encode(TEMPLATED, MESSAGES)
    assert decoded(TEMPLATED, encoded) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nThe lamp is red.\n\n"
        "Which lamp?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert quotes(encoded) == {0: "Be brief.", 10: "The lamp is red.", 11: "Which lamp?"}
    layout = build_layout(len(encoded.prompt_ids), encoded.geometry, SourceOptions())
    (unit,) = layout.units
    assert unit.preview == "The lamp is red."
    spelled = TEMPLATED.tokenizer.decode([encoded.prompt_ids[p] for p in unit.positions])
    assert spelled == "The lamp is red."


def test_without_a_chat_template_the_model_continues_the_text():
    encoded = encode(BARE, MESSAGES)
    assert decoded(BARE, encoded) == "Be brief.\n\nThe lamp is red.\n\nWhich lamp?"
    assert quotes(encoded) == {0: "Be brief.", 10: "The lamp is red.", 11: "Which lamp?"}


def test_the_inputs_are_those_of_the_tokenizer():
    for adapter in (BARE, TEMPLATED):
        encoded = encode(adapter, MESSAGES)
        assert encoded.inputs["input_ids"].tolist() == [list(encoded.prompt_ids)]
        assert encoded.inputs["attention_mask"].tolist() == [[1] * len(encoded.prompt_ids)]
        assert encoded.generate_options == {}
    given_ids = TEMPLATED.tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "The lamp is red.\n\nWhich lamp?"},
        ],
        add_generation_prompt=True,
        return_dict=True,
    )["input_ids"]
    assert list(encode(TEMPLATED, MESSAGES).prompt_ids) == given_ids


WORDS = st.sampled_from(["The", " lamp", ". ", "\n", " ", "é", "🙂", "x"])
PROSE = st.lists(WORDS, max_size=12).map("".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(PROSE, min_size=1, max_size=4), st.booleans())
def test_source_texts_are_found_in_every_frame(texts: list[str], bare: bool):
    texts = [*texts, "Why?"]
    encoded = encode(
        BARE if bare else TEMPLATED, [{"role": "user", "content": [text(t) for t in texts]}]
    )
    layout = build_layout(len(encoded.prompt_ids), encoded.geometry, SourceOptions(text="whole"))
    cited = {unit.locator.part: unit for unit in layout.units}
    assert set(cited) <= set(range(len(texts) - 1))
    for number, source in enumerate(texts[:-1]):
        if source.strip():
            unit = cited[number]
            assert source[unit.locator.start : unit.locator.end] == source.strip()
            assert unit.positions


def test_the_real_tokenizer_and_its_template():
    adapter = adapter_of(smollm2.tokenizer())
    encoded = encode(adapter, [MESSAGES[1]])
    # The template adds a system message of its own.
    assert decoded(adapter, encoded).startswith("<|im_start|>system\nYou are a helpful")
    assert quotes(encoded) == {0: "The lamp is red.", 1: "Which lamp?"}
    assert len(build_layout(len(encoded.prompt_ids), encoded.geometry, SourceOptions()).units) == 1


def test_a_medium_is_refused():
    import numpy as np

    picture = {"type": "image", "image": np.zeros((4, 4, 3), np.uint8)}
    with pytest.raises(InputError) as caught:
        encode(BARE, [{"role": "user", "content": [text("one"), picture, text("ask")]}])
    assert 'tiny reads text only; messages[0]["content"][1] is image' in str(caught.value)
    assert caught.value.legal == "text parts"
    assert "omni-modal" in caught.value.fix


def test_a_request_without_text_is_refused():
    with pytest.raises(InputError, match="messages are blank"):
        encode(BARE, [{"role": "user", "content": ""}])


def test_truncation_and_padding_of_a_tokenizer_leave_the_prompt_whole():
    asked = [{"role": "user", "content": [text("The key is blue. The lamp is red."), text("Why?")]}]
    cutting = build_tokenizer()
    cutting.backend_tokenizer.enable_truncation(4)
    cutting.backend_tokenizer.enable_padding(length=64)
    found, whole = encode(adapter_of(cutting), asked), encode(BARE, asked)
    assert found.inputs["input_ids"].tolist() == whole.inputs["input_ids"].tolist()
    ranges = [list(part.ranges) for part in found.geometry if isinstance(part, TextTokens)]
    assert ranges == [list(part.ranges) for part in whole.geometry if isinstance(part, TextTokens)]


def test_a_role_that_the_template_refuses():
    tokenizer = build_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}"
        "{{ raise_exception('No system role') }}{% endif %}{{ m['content'] }}{% endfor %}"
    )
    with pytest.raises(InputError, match="template refuses the messages: No system") as caught:
        encode(adapter_of(tokenizer), MESSAGES)
    assert "roles" in caught.value.fix


def test_a_prompt_longer_than_the_context():
    adapter = adapter_of(build_tokenizer(), context=16)
    assert adapter.max_context == 16
    short = encode(adapter, [{"role": "user", "content": "The lamp is red."}])
    adapter.check_length(len(short.prompt_ids))
    long = encode(adapter, [{"role": "user", "content": "The lamp is red. " * 8}])
    with pytest.raises(InputError) as caught:
        adapter.check_length(len(long.prompt_ids))
    assert f"the prompt has {len(long.prompt_ids)} tokens; tiny takes 16" in str(caught.value)
    assert "fewer than 16 tokens" in caught.value.legal
    assert "shorten" in caught.value.fix
    adapter.check_length(15)
    with pytest.raises(InputError):
        adapter.check_length(16)
