"""Pieces joined are the decoded text, for any text and for any ids a model may come up with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omnitrace.models.detokenize import Detokenizer
from tests.helpers import qwen_omni as omni
from tests.helpers import smollm2

TOKENIZERS = pytest.mark.parametrize("name", ["reference", "smollm2"])
FEW = settings(max_examples=60, deadline=None)


def tokenizer_of(name: str) -> Any:
    return omni.small().tokenizer if name == "reference" else smollm2.tokenizer()


def pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    """Push ids one by one; the rest of ``finish`` belongs to the last."""
    detokenizer = Detokenizer(tokenizer)
    found = [detokenizer.push(token_id) for token_id in ids]
    rest = detokenizer.finish()
    assert detokenizer.finish() == ""
    return [*found[:-1], found[-1] + rest] if found else found


def byte_ids(tokenizer: Any, data: bytes) -> list[int]:
    """Spell bytes, also such as are no text, with one token each."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    names = bytes_to_unicode()
    ids = [tokenizer.convert_tokens_to_ids(names[byte]) for byte in data]
    assert None not in ids
    return ids


@TOKENIZERS
@FEW
@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
@example(text="🙂👩‍👩‍👧 é e\u0301 \ufffd\ufffd x")
def test_any_text(name: str, text: str):
    tokenizer = tokenizer_of(name)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids, skip_special_tokens=True)


def fallback() -> Any:
    """Build a tokenizer as Llama's: bytes for what is not in its vocabulary, "▁" for a space."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁aeio.é"]
    vocab = {name: i for i, name in enumerate(names)}
    raw = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw)


FALLBACK = fallback()


@FEW
@given(st.text("ae .é€🙂船x\u0301", max_size=20))
@example("€€ 🙂🙂🙂")
def test_bytes_as_a_fallback(text: str):
    ids = FALLBACK(text, add_special_tokens=False)["input_ids"]
    assert "".join(pieces(FALLBACK, ids)) == FALLBACK.decode(ids, skip_special_tokens=True) == text


@TOKENIZERS
@FEW
@given(data=st.data())
def test_any_ids(name: str, data: Any):
    tokenizer = tokenizer_of(name)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=25))
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids, skip_special_tokens=True)


@TOKENIZERS
@settings(max_examples=150, deadline=None)
@given(
    chunks=st.lists(
        st.one_of(
            st.binary(max_size=6),
            st.text(st.characters(codec="utf-8"), max_size=3).map(str.encode),
            st.sampled_from([b"\x80", b"\xe2\x82", b"\xf0\x9f\x99", b" ", b"a"]),
        ),
        max_size=8,
    )
)
@example(chunks=[b"\x80\x80\x80\x80\xe2", b"\x82\xac"])
@example(chunks=[b"\xf0\x9f\x99\x80"] * 3)
def test_any_bytes(name: str, chunks: list[bytes]):
    tokenizer = tokenizer_of(name)
    ids = byte_ids(tokenizer, b"".join(chunks))
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids, skip_special_tokens=True)


@TOKENIZERS
def test_special_tokens_are_empty_pieces(name: str):
    tokenizer = tokenizer_of(name)
    ids = tokenizer("one<|im_end|> two<|im_end|>", add_special_tokens=False)["input_ids"]
    found = pieces(tokenizer, ids)
    assert "".join(found) == "one two"
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert [piece for piece, i in zip(found, ids, strict=True) if i == end] == ["", ""]


@TOKENIZERS
def test_a_character_comes_with_its_last_token(name: str):
    tokenizer = tokenizer_of(name)
    ids = byte_ids(tokenizer, "a€b".encode())
    assert pieces(tokenizer, ids) == ["a", "", "", "€", "b"]


def test_text_is_not_held_back():
    tokenizer = omni.small().tokenizer
    detokenizer = Detokenizer(tokenizer)
    text = ""
    for count, token_id in enumerate(byte_ids(tokenizer, b"\x80" * 40), start=1):
        text += detokenizer.push(token_id)
        assert len(text) >= count - 4
    assert detokenizer.push(byte_ids(tokenizer, b"x")[0]).endswith("x")


def test_nothing_is_nothing():
    detokenizer = Detokenizer(omni.small().tokenizer)
    assert detokenizer.finish() == ""
