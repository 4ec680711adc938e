# ruff: noqa: RUF001
"""Spans: what ends one, and that the cut into pushes never matters."""

from __future__ import annotations

import time

import pytest
import sentencex
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.segmentation.sentences import QUOTE_LIMIT, TAIL_LIMIT, Segmenter, segment

FRAGMENTS = [
    *("Dr. Smith", "3.5 kg", "e.g. this", "U.S. law", "Hello", "world", "went. He", "a.b@c.org"),
    *("- item", "* x", "1. First", "12) y", "# Title", "| a | b |", "**Bold:**", "---", "```"),
    *('"Yes. No."', "“So. It is.”", "(One. Two.)", "[1]", "'", '"', "(", ")", "*", "`x`"),
    *(". ", "! ", "? ", "... ", "; ", ": ", ", and ", ", ", "?!", "\n", "\n\n", "\r\n", " ", "\t"),
    *(
        "😀",
        "👩‍🚀",
        "你好。",
        "世界！",
        "「はい。」",
        "안녕 ",
        "नमस्ते। ",
        "é",
        "e\u0301",
        "\u00a0",
        "\u2028",
    ),
]
texts = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(" ".join),
    st.text(max_size=60),
    st.text(alphabet='ab AB.!?"()\n-1。你“”', max_size=80),
)
options = {
    "unit": st.sampled_from(["sentence", "clause"]),
    "language": st.sampled_from(["en", "de", "zh", "hi"]),
}


def pieces(text: str, **kwargs: str) -> list[str]:
    return [text[start:end] for start, end in segment(text, **kwargs)]  # type: ignore[arg-type]


@given(text=texts, data=st.data(), **options)
@settings(max_examples=300, deadline=None)
def test_any_cut_into_pushes_gives_the_same_spans(
    text: str, unit: str, language: str, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    whole = segment(text, unit=unit, language=language)
    for edges in (cuts, range(len(text) + 1)):
        segmenter = Segmenter(unit=unit, language=language)
        spans = []
        for start, end in zip([0, *edges], [*edges, len(text)], strict=True):
            new = segmenter.push(text[start:end])
            assert all(b <= end for _, b in new)
            spans += new
            assert spans == whole[: len(spans)]
        assert spans + segmenter.finish() == whole
        assert segmenter.finish() == []


@given(text=texts, **options)
@settings(max_examples=300, deadline=None)
def test_spans_are_trimmed_disjoint_and_cover_everything(
    text: str, unit: str, language: str
) -> None:
    spans = segment(text, unit=unit, language=language)
    rest, end = "", 0
    for start, stop in spans:
        assert start >= end
        assert text[start:stop].strip() == text[start:stop] != ""
        rest += text[end:start]
        end = stop
    assert (rest + text[end:]).strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("Hi", ["Hi"]),
        (" Hello world.  This is ", ["Hello world.", "This is"]),
        ("Dr. Smith went. He left.", ["Dr. Smith went.", "He left."]),
        ("It weighs 3.5 kg. Then it grew.", ["It weighs 3.5 kg.", "Then it grew."]),
        ("He said “Yes. No.” and left. I too.", ["He said “Yes. No.” and left.", "I too."]),
        ("It (so. It is.) was. Good.", ["It (so. It is.) was.", "Good."]),
        ("你好。世界！好", ["你好。", "世界！", "好"]),
        ("Wow! 😀 Great. 😀", ["Wow!", "😀 Great. 😀"]),
        ("😀", ["😀"]),
        ("One line\ngoes on here. Next", ["One line\ngoes on here.", "Next"]),
        ("A soft\nbreak. So it\ngoes on. End", ["A soft\nbreak.", "So it\ngoes on.", "End"]),
        ("No stop\n\nNew one", ["No stop", "New one"]),
        ("No stop\r\n\r\nNew one", ["No stop", "New one"]),
        ("Two:\n- a cat. One dog\n- e\nf", ["Two:", "- a cat.", "One dog", "- e", "f"]),
        ("1. First\n2. Second", ["1. First", "2. Second"]),
        ("# Title\nText.\n\n---\n\nMore", ["# Title", "Text.", "---\n\nMore"]),
        ("**Bold.** It is. **Yes.** Good", ["**Bold.**", "It is.", "**Yes.**", "Good"]),
        ("So it is.[1] Then it was.", ["So it is.[1]", "Then it was."]),
        ('"Is it so?" Then yes.', ['"Is it so?"', "Then yes."]),
        ("Odd\ud800 one. Two", ["Odd\ud800 one.", "Two"]),
        ("“So. It is.”\u00a0Then. Now", ["“So. It is.”", "Then.", "Now"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_clauses() -> None:
    text = "The radius: about 5 km; it grew, and it shrank, slowly, but at 12:30. It is a, b."
    assert pieces(text, unit="clause") == [
        *("The radius:", "about 5 km;", "it grew,", "and it shrank, slowly,"),
        *("but at 12:30.", "It is a, b."),
    ]
    assert pieces("Er ging, aber sie blieb.", unit="clause", language="de") == [
        "Er ging,",
        "aber sie blieb.",
    ]
    assert pieces("甲：乙；丙。", unit="clause", language="zh") == ["甲：", "乙；", "丙。"]


def test_prose_is_cut_as_sentencex_cuts_it() -> None:
    text = (
        "Mr. Jones paid $3.50 to Acme Inc. for it. Was it fair? Nobody knew! On Jan. 5 he asked "
        "Dr. Brown (who lived in St. Louis. He was old.) about it... The answer was: “No. Never.” "
        "It's the dog's own bone. See www.example.com. Then write to a.b@example.org. Prof. Lee "
        "says approx. 40% of Fig. 3 is wrong. The U.S. Government did not reply. He isn't here."
    )
    assert pieces(text) == [piece.strip() for piece in sentencex.segment("en", text)]
    assert len(pieces(text)) > 8


def test_a_sentence_ends_with_the_first_word_of_the_next() -> None:
    segmenter = Segmenter()
    assert segmenter.push("It is so. The") == []
    assert segmenter.push("n it") == [(0, 9)]
    assert segmenter.push(" was.\n") == []
    assert segmenter.push("\n") == [(10, 22)]
    assert segmenter.finish() == []


def test_a_list_item_ends_with_its_line() -> None:
    segmenter = Segmenter()
    assert segmenter.push("- one\n") == [(0, 5)]


def test_an_unclosed_quotation_holds_back_only_so_long() -> None:
    segmenter = Segmenter()
    sentence = "It was a dark night. "
    assert segmenter.push('He said "' + sentence * 5) == []
    spans = segmenter.push(sentence * (QUOTE_LIMIT // len(sentence)))
    assert len(spans) > 10


def test_the_tail_is_bounded() -> None:
    text = "word " * 2000
    spans = segment(text)
    assert all(end - start <= TAIL_LIMIT for start, end in spans)
    assert all(text[start:end].startswith("word") for start, end in spans)
    assert segment("x" * 5000) == [(0, 2000), (2000, 4000), (4000, 5000)]
    assert segment("\n" * 5000) == []


@pytest.mark.parametrize(
    "piece", ["The fox ran. ", "(a. B ", "a. b. ", "\n", "你好。", '"a? ', "- a\n"]
)
def test_long_responses_take_linear_time(piece: str) -> None:
    text = piece * (20_000 // len(piece))
    segmenter = Segmenter(unit="clause")
    began = time.perf_counter()
    for start in range(0, len(text), 4):
        segmenter.push(text[start : start + 4])
    segmenter.finish()
    assert time.perf_counter() - began < 5


def test_unknown_unit() -> None:
    with pytest.raises(InputError, match=r"'word'.*sentence or clause"):
        Segmenter(unit="word")  # type: ignore[arg-type]
