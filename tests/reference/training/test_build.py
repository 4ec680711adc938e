"""The tokenizer, the processor and the configuration of the reference model."""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2_5OmniThinkerConfig, Qwen2Tokenizer

from omnitrace.reference.training.build import (
    SPECIAL_TOKENS,
    build_config,
    build_processor,
    build_tokenizer,
)
from omnitrace.reference.words import world_words

TOKENIZER = build_tokenizer()


def test_it_is_the_tokenizer_class_of_the_real_model():
    assert type(TOKENIZER) is Qwen2Tokenizer
    for name, token in SPECIAL_TOKENS.items():
        assert getattr(TOKENIZER, name) == token
        assert TOKENIZER(f"a{token}b").tokens()[1] == token
    assert TOKENIZER.eos_token == "<|im_end|>"


def test_building_twice_gives_the_same_vocabulary():
    assert build_tokenizer().get_vocab() == TOKENIZER.get_vocab()


@pytest.mark.parametrize("form", ["{}", " {}"])
def test_every_word_of_the_world_is_one_token(form):
    for word in world_words():
        assert len(TOKENIZER(form.format(word)).input_ids) == 1, word
        assert len(TOKENIZER(form.format(word.capitalize())).input_ids) == 1, word


def test_the_markers_of_a_thought_are_tokens_that_decoded_text_shows():
    thinking = build_tokenizer(thinking=True)
    assert build_tokenizer(thinking=True).get_vocab() == thinking.get_vocab()
    for word in world_words(thinking=True):
        assert len(thinking(f" {word}").input_ids) == 1, word
    text = "<think> So nine and three make twelve. </think> The sum is twenty-one."
    tokens = thinking(text).tokens()
    assert (tokens[0], tokens[-8]) == ("<think>", "</think>")
    assert thinking.decode(thinking(text).input_ids, skip_special_tokens=True) == text
    assert not {"<think>", "</think>"} & {*thinking.all_special_tokens}
    assert "<think>" not in TOKENIZER.get_vocab()


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_any_text_survives_a_round_trip(text):
    ids = TOKENIZER(text).input_ids
    assert TOKENIZER.decode(ids) == unicodedata.normalize("NFC", text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_offsets_lie_in_the_text_and_ascend(text):
    offsets = TOKENIZER(text, return_offsets_mapping=True).offset_mapping
    assert all(0 <= start <= end <= len(text) for start, end in offsets)
    assert offsets == sorted(offsets)


def test_offsets_spell_the_words():
    text = "The lamp weighs seven grams."
    offsets = TOKENIZER(text, return_offsets_mapping=True).offset_mapping
    assert [text[a:b] for a, b in offsets] == ["The", " lamp", " weighs", " seven", " grams", "."]


def test_the_chat_template_has_the_official_layout():
    processor = build_processor(TOKENIZER)
    content = [
        {"type": "video", "video": "v.mp4"},
        {"type": "text", "text": "Hello."},
        {"type": "image", "image": "i.png"},
        {"type": "audio", "audio": "a.wav"},
    ]
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": content}]
    expected = (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n"
        "<|vision_bos|><|VIDEO|><|vision_eos|>Hello.<|vision_bos|><|IMAGE|><|vision_eos|>"
        "<|audio_bos|><|AUDIO|><|audio_eos|><|im_end|>\n"
    )
    given_prompt = processor.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    assert given_prompt == expected + "<|im_start|>assistant\n"
    assert processor.apply_chat_template(messages, tokenize=False) == expected


def test_the_configuration_survives_a_round_trip(tmp_path):
    config = build_config(TOKENIZER)
    config.save_pretrained(tmp_path)
    loaded = Qwen2_5OmniThinkerConfig.from_pretrained(tmp_path)
    assert loaded.model_type == "qwen2_5_omni_thinker"
    assert loaded.to_dict() == {**config.to_dict(), **loaded.to_dict()}
    assert loaded.vision_start_token_id == TOKENIZER.convert_tokens_to_ids("<|vision_bos|>")


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, omnitrace.reference as r; r.model_path();"
        "print([m for m in ('torch', 'transformers', 'PIL', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
