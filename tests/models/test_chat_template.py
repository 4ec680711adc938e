"""The user's texts are found in rendered templates, whatever these do to them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError, ModelError
from omnitrace.models.chat_template import (
    Anchor,
    locate_texts,
    refuse_reserved,
    text_geometry,
    tokenize_with_offsets,
)
from omnitrace.sources.parts import TextPart
from omnitrace.sources.unitizers.text import text_units
from tests.helpers import qwen_omni as omni
from tests.helpers import smollm2

Render = Callable[[Sequence[str]], str]
FEW = settings(max_examples=60, deadline=None)
ANY = st.text(st.characters(codec="utf-8", exclude_characters="\ue000\ue001"), max_size=25)
# Words that stand in the templates too, and texts that hold each other.
TRAPS = st.sampled_from(
    ["user", " a ", "a", "\n", "", " ", "<|im_start|>", "user\na", "end", "aa "]
)
TEXTS = st.lists(st.one_of(ANY, TRAPS), min_size=1, max_size=4)


def keep(texts: Sequence[str]) -> str:
    return "".join(f"<|im_start|>user\n{text}<|im_end|>\n" for text in texts) + "assistant\n"


def bare(texts: Sequence[str]) -> str:
    return "\n\n".join(texts)


def trim(texts: Sequence[str]) -> str:
    return keep([text.strip() for text in texts])


def trim_whole(texts: Sequence[str]) -> str:
    """Trim the message, not its parts, as Gemma's template does with joined texts."""
    return f"<start_of_turn>user\n{bare(texts).strip()}<end_of_turn>\n"


def trim_end(texts: Sequence[str]) -> str:
    return keep([text.rstrip() for text in texts])


def reverse(texts: Sequence[str]) -> str:
    return keep(list(reversed(texts)))


def last_only(texts: Sequence[str]) -> str:
    return keep(texts[-1:])


def parts_of(texts: Sequence[str], source: bool = True) -> list[TextPart]:
    return [TextPart(0, i, "user", text, source) for i, text in enumerate(texts)]


def check(prompt: str, texts: Sequence[str], anchors: Sequence[Anchor | None]) -> None:
    """Check that each anchor says where its text, but for white space around it, stands."""
    for text, anchor in zip(texts, anchors, strict=True):
        if anchor is None:
            assert not text.strip()
            continue
        piece = text[anchor.part_start : anchor.part_start + anchor.length]
        assert prompt[anchor.prompt_start : anchor.prompt_start + anchor.length] == piece
        assert piece.strip() == text.strip()
    found = [a for a in anchors if a is not None]
    for before, after in itertools.pairwise(found):
        assert before.prompt_start + before.length <= after.prompt_start


@FEW
@given(TEXTS, st.sampled_from([keep, bare]))
def test_templates_that_keep_the_texts(texts: list[str], render: Render):
    prompt, anchors = locate_texts(render, parts_of(texts))
    assert prompt == render(texts)
    check(prompt, texts, anchors)
    for text, anchor in zip(texts, anchors, strict=True):
        assert anchor is not None
        assert (anchor.part_start, anchor.length) == (0, len(text))
    if render is keep:
        frame = len("<|im_start|>user\n")
        assert anchors[0] == Anchor(frame, 0, len(texts[0]))


@FEW
@given(TEXTS, st.sampled_from([trim, trim_end, trim_whole]))
@example([" a "], trim)
@example([" user ", "end "], trim)
@example([" a", "a "], trim_whole)
@example(["", " 0", " 0"], trim_whole)
@example(["0", "\n", ""], trim_whole)
def test_templates_that_trim_the_texts(texts: list[str], render: Render):
    prompt, anchors = locate_texts(render, parts_of(texts))
    assert prompt == render(texts)
    check(prompt, texts, anchors)
    frame = {trim_whole: len("<start_of_turn>user\n")}.get(render, len("<|im_start|>user\n"))
    first = anchors[0]
    if texts[0].strip():  # the right occurrence, not a word of the template
        assert first is not None
        lead = len(texts[0]) - len(texts[0].lstrip())
        assert first.prompt_start - first.part_start + lead == frame + lead * (render is trim_end)


def test_templates_that_change_the_order():
    texts = ["one", "two", "one two"]
    prompt, anchors = locate_texts(reverse, parts_of(texts))
    for text, anchor in zip(texts, anchors, strict=True):
        assert anchor is not None
        assert prompt[anchor.prompt_start :].startswith(text + "<|im_end|>")


@FEW
@given(TEXTS)
@example(["a", "user "])
def test_texts_that_the_template_drops(texts: list[str]):
    parts = parts_of(texts, source=False)
    prompt, anchors = locate_texts(last_only, parts)
    assert prompt == keep(texts[-1:])
    assert anchors[-1] == Anchor(len("<|im_start|>user\n"), 0, len(texts[-1]))
    assert anchors[:-1] == [None] * (len(texts) - 1)


def test_a_source_that_the_template_drops_is_an_error():
    with pytest.raises(ModelError, match="leaves out or rewrites the source text") as caught:
        locate_texts(last_only, parts_of(["one source", "two"]))
    assert 'messages[0]["content"][0]' in str(caught.value)
    assert "last user message" in caught.value.fix
    # White space that is dropped is no loss.
    _, anchors = locate_texts(last_only, parts_of([" ", "two"]))
    assert anchors[0] is None


def test_thoughts_that_the_template_takes_out():
    def forget(texts: Sequence[str]) -> str:
        return keep([text.split("</think>")[-1].lstrip("\n") for text in texts])

    texts = ["question", "<think>hm</think>\n\nanswer", "the last"]
    parts = [TextPart(i, 0, "user", text, i != 1) for i, text in enumerate(texts)]
    prompt, anchors = locate_texts(forget, parts)
    # What the template keeps of the second text is found.
    answer = anchors[1]
    assert answer is not None
    assert texts[1][answer.part_start :] == "answer"
    assert prompt[answer.prompt_start :].startswith("answer<|im_end|>")
    check(prompt, [texts[0], texts[2]], [anchors[0], anchors[2]])


def test_a_text_that_is_written_twice_is_found_twice():
    def twice(texts: Sequence[str]) -> str:
        return f"Reminder: {texts[0]}\n{keep(texts)}"

    parts = parts_of(["One. Two.", "ask"])
    prompt, anchors = locate_texts(twice, parts)
    first = anchors[0]
    assert first is not None
    places = [first.prompt_start, *(each.prompt_start for each in first.again)]
    assert places == [prompt.index("One."), prompt.rindex("One.")]
    characters = [(i, i + 1) for i in range(len(prompt))]
    geometry = text_geometry(parts, anchors, range(len(prompt)), characters)
    units = ["".join(prompt[p] for p in unit.positions).split() for unit in text_units(geometry[0])]
    assert units == [["One.", "One."], ["Two.Two."]]


class _StartsOnly:
    """A tokenizer that says where a token begins, and not where it ends."""

    is_fast = True

    def __call__(self, prompt: str, **_: Any) -> dict[str, Any]:
        return {
            "input_ids": list(range(len(prompt))),
            "offset_mapping": [(i, i) for i in range(len(prompt))],
        }


def test_tokens_without_an_end_last_until_the_next_begins():
    _, offsets = tokenize_with_offsets(_StartsOnly(), "abc", add_special_tokens=False)
    assert offsets == [(0, 1), (1, 2), (2, 3)]


def test_a_source_without_tokens_is_refused():
    with pytest.raises(ModelError, match=r"no token carries the source text messages\[0\]"):
        text_geometry(parts_of(["one"]), [Anchor(0, 0, 3)], [0, 1], [(0, 0), (0, 0)])


def tokenizers() -> list[str]:
    return ["reference", "smollm2"]


def tokenizer_of(name: str) -> Any:
    return omni.small().tokenizer if name == "reference" else smollm2.tokenizer()


@pytest.mark.parametrize("name", tokenizers())
@settings(max_examples=40, deadline=None)
@given(texts=TEXTS, render=st.sampled_from([keep, bare, trim]))
@example(texts=["e\u0301 u\u0308 \u1112\u1161\u11ab", "🙂👩‍👩‍👧 x"], render=keep)
@example(texts=["0\x1d"], render=keep)
def test_tokens_cover_every_character_of_every_text(name: str, texts: list[str], render: Render):
    tokenizer = tokenizer_of(name)
    parts = parts_of(texts)
    prompt, anchors = locate_texts(render, parts)
    ids, offsets = tokenize_with_offsets(tokenizer, prompt, add_special_tokens=False)
    assert ids == tokenizer(prompt, add_special_tokens=False)["input_ids"]
    positions = range(5, 5 + len(ids))
    geometry = text_geometry(parts, anchors, positions, offsets)
    found = {tokens.part.part: tokens for tokens in geometry}
    spelled = {i for start, end in offsets for i in range(start, end)}
    assert name == "smollm2" or len(spelled) == len(prompt)
    owned: list[int] = []
    for text, anchor, part in zip(texts, anchors, parts, strict=True):
        if anchor is None or not anchor.length:
            assert part.part not in found
            continue
        covered: set[int] = set()
        first, last = anchor.part_start, anchor.part_start + anchor.length
        if part.part not in found:  # shorter than half of a token that it shares
            assert anchor.length < 4
            continue
        tokens = found[part.part]
        where = anchor.prompt_start - anchor.part_start
        for position, (start, end) in zip(tokens.positions, tokens.ranges, strict=True):
            assert first <= start < end <= last
            token_start, token_end = offsets[position - 5]
            assert token_start <= start + where < end + where <= token_end
            covered.update(range(start, end))
        owned += tokens.positions
        if render is bare:  # there a token may reach into the next text, which then owns it
            missing = set(range(first, last)) - covered
            assert len(missing) <= 8
        else:
            # SmolLM2's vocabulary lacks some bytes: its tokenizer drops them without a word.
            dropped = set(range(first, last)) - {i - where for i in spelled}
            assert covered == set(range(first, last)) - dropped, text
    assert len(owned) == len(set(owned))
    assert sorted(owned) == owned


@pytest.mark.parametrize("name", tokenizers())
def test_ranges_spell_the_words(name: str):
    text = "The lamp is red, and blue"
    parts = parts_of([text])
    prompt, anchors = locate_texts(keep, parts)
    ids, offsets = tokenize_with_offsets(tokenizer_of(name), prompt, add_special_tokens=False)
    (tokens,) = text_geometry(parts, anchors, range(len(ids)), offsets)
    assert "".join(text[a:b] for a, b in tokens.ranges) == text
    pieces = [tokenizer_of(name).decode([ids[p]]) for p in tokens.positions]
    assert [text[a:b] for a, b in tokens.ranges] == pieces


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="Slow cannot say which characters") as caught:
        tokenize_with_offsets(Slow(), "x", add_special_tokens=False)
    assert "fast tokenizer" in caught.value.legal


def test_reserved_tokens_are_refused():
    refuse_reserved(parts_of(["<IMG>", "<A"]), ["<|IMAGE|>"])
    with pytest.raises(InputError, match=r"\[1\] contains the model's reserved token '<A>'"):
        refuse_reserved(parts_of(["ok", "not <A> ok"]), ["<B>", "<A>"])
