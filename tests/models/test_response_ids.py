"""The ids of a response by the bytes of its tokens, in each way that vocabularies write bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from omnitrace import InputError
from omnitrace.models.response_ids import _ids_of_pieces, check_prompt, response_ids
from omnitrace.reference.training.build import build_tokenizer
from omnitrace.sources import GivenResponse
from tests.helpers.server_responses import pieces_of


def test_tokens_of_a_byte_level_vocabulary_are_found() -> None:
    tokenizer = build_tokenizer()
    ids = list(range(len(tokenizer)))  # markers are written with letters of the alphabet too
    assert _ids_of_pieces(tokenizer, pieces_of(tokenizer, ids)) == ids


@pytest.fixture(scope="module")
def sentencepiece() -> Any:
    """A vocabulary as SentencePiece writes it, with a token for some bytes."""
    names = ["<unk>", "</s>", "▁the", "▁", "cup", "é", *(f"<0x{b:02X}>" for b in (0x0A, 0xC3))]
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


def test_a_vocabulary_of_sentencepiece(sentencepiece: Any) -> None:
    pieces = [b" the", b" ", b"cup", "é".encode(), b"\n", b"\xc3", b"</s>"]
    assert _ids_of_pieces(sentencepiece, pieces) == [2, 3, 4, 5, 6, 7, 1]
    assert _ids_of_pieces(sentencepiece, [b"lamp"]) is None


def adapter(tokenizer: Any) -> Any:
    embeddings = SimpleNamespace(num_embeddings=len(tokenizer))
    return SimpleNamespace(
        tokenizer=tokenizer,
        model=SimpleNamespace(get_input_embeddings=lambda: embeddings),
        check_characters=lambda count: None,
    )


def test_characters_that_a_server_lost_are_not_guessed() -> None:
    """vLLM writes a part of a character as U+FFFD, in bytes too: these are another token's."""
    tokenizer = build_tokenizer()
    text = "Zoë saw 🦊"
    ids = tokenizer(text)["input_ids"]
    whole = pieces_of(tokenizer, ids)
    lossy = [piece.decode("utf-8", "replace").encode() for piece in whole]
    assert lossy != whole
    exact = response_ids(adapter(tokenizer), GivenResponse("r", text=text, pieces=tuple(whole)))
    assert exact == (ids, "bytes")
    found = response_ids(adapter(tokenizer), GivenResponse("r", text=text, pieces=tuple(lossy)))
    assert found == (ids, "text")


def test_a_response_that_is_not_cut_as_its_tokenizer_cuts_it_is_kept_by_its_bytes() -> None:
    tokenizer = build_tokenizer()
    ids = [tokenizer("c")["input_ids"][0], tokenizer("up")["input_ids"][0]]
    pieces = tuple(pieces_of(tokenizer, ids))
    found = response_ids(adapter(tokenizer), GivenResponse("r", text="cup", pieces=pieces))
    assert found == (ids, "bytes")
    assert response_ids(adapter(tokenizer), GivenResponse("r", text="cup"))[0] != ids


def test_white_space_beside_the_ids_does_not_matter() -> None:
    tokenizer = build_tokenizer()
    ids = tuple(tokenizer("\n\nA cup.\n")["input_ids"])
    given = GivenResponse("r", text="A cup.", ids=ids, ids_at="r")
    assert response_ids(adapter(tokenizer), given) == (list(ids), "given")


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        ((1, 2, 3), (1, 5, 3), r"at index 1 the server has 2 .*, and here is 5 .*3 and 3 tokens"),
        ((1, 2), (1, 2, 3), r"at index 2 the server has its end, and here is 3 "),
        ((1, 2, 3), (1, 2), r"at index 2 the server has 3 .*, and here is its end"),
        ((1, 9, 9, 3), (1, 9, 9, 9, 3), r"at index 3 the server has 3 "),
    ],
)
def test_another_prompt_is_refused(
    theirs: tuple[int, ...], ours: tuple[int, ...], message: str
) -> None:
    given = GivenResponse("r", prompt_ids=theirs)
    with pytest.raises(InputError, match=message):
        check_prompt(build_tokenizer(), given, ours, frozenset({9}))


def test_the_same_prompt_and_one_that_is_not_expanded_are_taken() -> None:
    ours = (1, 9, 9, 9, 3, 3)
    for theirs in (None, ours, (1, 9, 3, 3)):
        check_prompt(build_tokenizer(), GivenResponse("r", prompt_ids=theirs), ours, frozenset({9}))
