"""The generated world: determinism, independence, and labels that point at the right place."""

import collections
import itertools

import pytest

from omnitrace.errors import InputError
from omnitrace.reference.control import without_evidence
from omnitrace.reference.words import WEIGHTS, world_words
from omnitrace.reference.world import (
    CATEGORIES,
    HELD_OUT,
    MODALITIES,
    BoxEvidence,
    SecondsEvidence,
    TextEvidence,
    held_out_seed,
    make_sample,
    training_seed,
)

SAMPLES = [make_sample(held_out_seed(n)) for n in range(120)]


def test_the_same_arguments_give_the_same_sample():
    for seed in range(20):
        assert make_sample(seed, questions=3) == make_sample(seed, questions=3)
    assert make_sample(1) != make_sample(2)


def test_training_and_held_out_seeds_never_meet():
    assert training_seed(2**8 - 1, 2**32 - 1) == HELD_OUT - 1
    assert held_out_seed(0) == HELD_OUT
    with pytest.raises(InputError, match=r"run in \[0, 2\*\*8\)"):
        training_seed(2**8, 0)
    with pytest.raises(InputError, match="held-out sample -1"):
        held_out_seed(-1)


def test_ranges_of_the_answer_spell_statements_and_values():
    for sample in SAMPLES:
        end = -1
        for statement in sample.statements:
            assert statement.start == end + 1
            end = statement.end
            assert sample.answer[statement.start : statement.end] == statement.text
            assert sample.answer[statement.value_start : statement.value_end] == statement.value
        assert end == len(sample.answer)


def test_evidence_shows_the_value():
    seen = set()
    for sample in SAMPLES:
        content = sample.messages[0]["content"]
        for statement in sample.statements:
            (evidence,) = statement.evidence
            part = content[evidence.part]
            seen.add(statement.category)
            if isinstance(evidence, TextEvidence):
                assert part["text"][evidence.start : evidence.end] == statement.text
            elif isinstance(evidence, BoxEvidence):
                assert part["type"] == "image"
                (shape,) = [s for s in sample.image.shapes if s.box == evidence.box]
                assert statement.value in (shape.colour, shape.shape)
                assert shape.cell in statement.text
            else:
                assert isinstance(evidence, SecondsEvidence)
                second = int(evidence.start_seconds)
                assert evidence.end_seconds == second + 1
                if part["type"] == "audio":
                    assert sample.audio.tones[second].name == statement.value
                else:
                    assert sample.video.colours[second] == statement.value
    assert seen == set(CATEGORIES)


def test_boxes_stay_in_their_cells():
    for sample in SAMPLES:
        for shape in sample.image.shapes if sample.image else ():
            x0, y0, x1, y1 = shape.box
            left, top = 56 * ("right" in shape.cell), 56 * ("bottom" in shape.cell)
            assert left <= x0 < x1 <= left + 56
            assert top <= y0 < y1 <= top + 56


def test_the_question_is_always_last_and_media_names_tell_nothing():
    names = collections.defaultdict(set)
    for sample in SAMPLES:
        content = sample.messages[0]["content"]
        assert content[-1] == {"type": "text", "text": sample.question}
        assert sample.question.count("?") == len(sample.statements)
        for part in content[:-1]:
            if part["type"] != "text":
                names[part["type"]].add(part[part["type"]])
    assert dict(names) == {"image": {"image.png"}, "audio": {"audio.wav"}, "video": {"video.mp4"}}


def test_values_do_not_depend_on_the_order_of_the_parts():
    for order in itertools.permutations(MODALITIES):
        sample = make_sample(7, order=order)
        assert sample.order == order
        reference = make_sample(7, order=MODALITIES)
        assert (sample.note, sample.image) == (reference.note, reference.image)
        assert (sample.audio, sample.video) == (reference.audio, reference.video)


def test_values_are_evenly_spread_and_independent_of_each_other():
    weights = collections.Counter(
        fact.weight for n in range(400) for fact in make_sample(n, order=("text",)).note.facts
    )
    assert set(weights) == set(WEIGHTS)
    assert max(weights.values()) < 1.5 * min(weights.values())


def test_questions_can_be_counted_and_chosen():
    sample = make_sample(3, questions=4, order=MODALITIES, categories=("audio",))
    assert {statement.category for statement in sample.statements} == {"audio"}
    assert len({statement.question for statement in sample.statements}) == len(sample.statements)
    assert len(make_sample(3, questions=9, order=MODALITIES).statements) == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"questions": 0}, "0 questions"),
        ({"order": ("text", "text")}, "each at most once"),
        ({"order": ()}, "one or more of"),
        ({"order": ("smell",)}, "smell"),
        ({"order": ("text",), "categories": ("audio",)}, "no question of"),
    ],
)
def test_requests_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        make_sample(0, **arguments)


def test_every_word_is_in_the_list_of_words():
    known = set(world_words())
    for sample in SAMPLES:
        texts = [sample.answer, *(p.get("text", "") for p in sample.messages[0]["content"])]
        letters = "".join(c if c.isalpha() else " " for c in " ".join(texts))
        assert set(letters.split()) <= known


def test_the_control_takes_the_evidence_and_nothing_else():
    for sample in SAMPLES:
        bare = without_evidence(sample)
        assert bare.question == sample.question
        assert bare.answer == sample.answer
        assert bare.order == sample.order
        taken = [s.text for s in sample.statements if s.category == "text"]
        if sample.note:
            assert not [text for text in taken if text in bare.note.text]
            assert len(bare.note.facts) == len(sample.note.facts) - len(taken)
            for fact in bare.note.facts:
                sentence = f"The {fact.name} weighs {fact.weight} grams."
                assert bare.note.text[fact.start : fact.end] == sentence
        boxes = {s.evidence[0].box for s in sample.statements if "image" in s.category}
        if sample.image:
            assert {s.box for s in sample.image.shapes} - boxes == {
                s.box for s in bare.image.shapes
            }
        sounds = {s.evidence[0].start_seconds for s in sample.statements if s.category == "audio"}
        for second, tone in enumerate(bare.audio.tones if bare.audio else ()):
            assert (tone.amplitude == 0) == (second in sounds)
        films = {s.evidence[0].start_seconds for s in sample.statements if s.category == "video"}
        for second, colour in enumerate(bare.video.colours if bare.video else ()):
            assert (colour == "") == (second in films)
