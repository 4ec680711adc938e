"""Words of a recogniser become sentences whose edges are pauses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omnitrace.speech.utterances import Utterance, Word
from omnitrace.speech.words import sentences_of, snapped


def words(text: str, each: float = 0.3, gap: float = 0.05) -> list[Word]:
    at, found = 0.0, []
    for word in text.split():
        found.append(Word(round(at, 3), round(at + each, 3), word))
        at += each + gap
    return found


def test_sentences_end_at_marks_but_not_at_abbreviations():
    found = sentences_of(words("Call Dr. Smith now. Why? “He left!” Then rain."))
    assert [each.text for each in found] == [
        "Call Dr. Smith now.",
        "Why?",
        "“He left!”",
        "Then rain.",
    ]
    assert found[0].start == 0.0
    assert (found[0].end, found[1].start) == (1.35, 1.4)


def test_speakers_and_silence_part_sentences():
    said = [Word(0, 1, "yes", "Anna"), Word(1, 2, "no", "Ben"), Word(3.5, 4, "well", "Ben")]
    found = sentences_of(said)
    assert [(each.text, each.speaker) for each in found] == [
        ("yes", "Anna"),
        ("no", "Ben"),
        ("well", "Ben"),
    ]


def test_a_minute_of_commas_is_parted_at_its_widest_gaps():
    said = words("one, two, three, four, five, six, seven, eight,")
    said = [*said[:4], *(Word(w.start + 0.4, w.end + 0.4, w.text) for w in said[4:])]
    found = sentences_of(said, longest=2.0)
    assert [each.text for each in found] == ["one, two, three, four,", "five, six, seven, eight,"]


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["a", "b.", "c,"])), max_size=40))
def test_no_word_is_lost_and_no_sentence_is_too_long(steps):
    at, said = 0.0, []
    for gap, text in steps:
        said.append(Word(at + gap, at + gap + 0.2, text))
        at += gap + 0.2
    found = sentences_of(said, longest=3.0)
    assert " ".join(each.text for each in found).split() == [word.text for word in said]
    assert all(each.end - each.start <= 3.0 for each in found)


def test_edges_move_to_pauses_that_are_near():
    voiced = [Utterance(0.5, 2.0), Utterance(3.0, 4.0)]
    found = snapped([Utterance(0.3, 2.2, "a"), Utterance(2.3, 4.9, "b")], voiced)
    assert found == [Utterance(0.5, 2.0, "a"), Utterance(2.3, 4.9, "b")]
    assert snapped([Utterance(0.3, 2.2, "a")], []) == [Utterance(0.3, 2.2, "a")]


@given(st.lists(st.floats(0, 10), min_size=2, max_size=10), st.lists(st.floats(0, 10), max_size=10))
def test_moved_utterances_stay_in_order(times, pauses):
    edges = sorted(times)
    said = [Utterance(a, b, "x") for a, b in zip(edges[::2], edges[1::2], strict=False)]
    cuts = sorted(pauses)
    voiced = [Utterance(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    found = snapped(said, voiced)
    moved = [edge for each in found for edge in (each.start, each.end)]
    assert moved == sorted(moved)
    assert len(found) == len(said)
