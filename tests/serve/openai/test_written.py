"""Thoughts and answer apart, cut at a stop text, however a response comes in pieces."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.segmentation.thinking import Thinking
from omnitrace.serve.openai.written import Written

THINKING = Thinking()


def read(pieces: list[str], **options: object) -> tuple[Written, dict[str, str]]:
    written = Written(**options)  # type: ignore[arg-type]
    shown = {"answer": "", "thought": ""}
    for text in pieces:
        for piece in written.push(text):
            assert piece.text
            shown[piece.section] += piece.text
    for piece in written.finish():
        shown[piece.section] += piece.text
    return written, shown


def test_a_plain_response_is_the_answer() -> None:
    written, shown = read(["It ", "is ", "red. \n"], thinking=THINKING)
    assert written.content == shown["answer"] == "It is red. \n"
    assert written.reasoning == ""


def test_thoughts_are_apart() -> None:
    written, _ = read(["<thi", "nk>\nHm. ", "Red?\n</think", ">\n\nIt is red."], thinking=THINKING)
    assert written.reasoning == "Hm. Red?"
    assert written.content == "It is red."


def test_a_response_may_begin_inside_a_thought() -> None:
    written, _ = read(["Hm.", "</think>", " Red."], thinking=THINKING, opened=True)
    assert (written.reasoning, written.content) == ("Hm.", "Red.")


def test_an_empty_thought_leaves_no_marker() -> None:
    written, _ = read(["<think>\n\n</think>\n\nRed."], thinking=THINKING)
    assert (written.reasoning, written.content) == ("", "Red.")


def test_a_section_goes_on_after_a_blank_line() -> None:
    written, _ = read(["One. <think>Hm.</think> Two."], thinking=THINKING)
    assert (written.content, written.reasoning) == ("One.\n\nTwo.", "Hm.")
    place = written.place(24, 28)
    assert place is not None
    assert written.content[place.start : place.end] == "Two."


def test_silent_tokens_part_sections() -> None:
    written = Written(THINKING, silent={7: "thought", 8: "answer"})
    for text, token in [("", 7), ("Hm.", 1), ("", 8), ("Red.", 2)]:
        written.push(text, token)
    written.finish()
    assert (written.reasoning, written.content) == ("Hm.", "Red.")


def test_a_stop_text_ends_the_response_and_is_no_part_of_it() -> None:
    written, shown = read(["It is red", ". EN", "D and more"], stops=("END", "never"))
    assert written.stopped
    assert written.content == shown["answer"] == "It is red. "


def test_the_beginning_of_a_stop_text_is_shown_if_it_becomes_none() -> None:
    written, _ = read(["EN", "TER"], stops=("END",))
    assert not written.stopped
    assert written.content == "ENTER"


def test_the_end_of_the_thought_can_be_a_stop_text() -> None:
    written, _ = read(["<think>Hm.</", "think>Red."], thinking=THINKING, stops=("</think>",))
    assert (written.reasoning, written.content) == ("Hm.", "")


def test_places_behind_the_end_are_nowhere() -> None:
    written, _ = read(["Red. END Blue."], stops=("END",))
    assert written.place(9, 14) is None
    place = written.place(0, 8)  # crosses the end
    assert place is not None
    assert (place.start, place.end) == (0, 5)


_TEXTS = st.lists(
    st.sampled_from(["a", "b ", " ", "\n", "<think>", "</think>", "EN", "D", "<", "/", ">"]),
    max_size=14,
).map("".join)


@settings(max_examples=50)
@given(_TEXTS, st.lists(st.integers(0, 60), max_size=6), st.booleans())
def test_pieces_joined_are_the_whole(text: str, cuts: list[int], opened: bool) -> None:
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
    options = {"thinking": THINKING, "opened": opened, "stops": ("END",)}
    written, shown = read(pieces, **options)
    whole, _ = read([text], **options)
    assert shown == {"answer": whole.content, "thought": whole.reasoning}
    assert written.content == whole.content
    assert written.stopped == ("END" in text)
    assert "<think>" not in whole.content + whole.reasoning
    for start in range(len(text)):
        place = whole.place(start, start + 1)
        if place is not None:
            found = whole.content if place.section == "answer" else whole.reasoning
            assert found[place.start : place.end] == text[start]
