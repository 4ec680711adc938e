"""Questions have one answer each, and their sources are where it is.

The generator makes questions from what the parts show; here a question is read anew, by its words
alone, and answered from the scenes by another way.
"""

import pytest

from omnitrace.reference.questions import references
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.words import COLOURS, NUMBERS, TONES, UNKNOWN
from omnitrace.reference.world import CATEGORIES
from tests.helpers.reference_questions import carried, read
from tests.helpers.reference_samples import held_out


def drawn():
    return held_out(400)


def statements():
    return [(sample, each) for sample in drawn() for each in sample.statements]


def asked_of(statement):
    """Return what a question asks for, without its frame, and which of the three it is."""
    asked = statement.question[0].lower() + statement.question[1:].removesuffix("?")
    for frame in (", and what do they make", ", and are they the same"):
        if asked.endswith(frame):
            return frame, asked.removesuffix(frame).split(", ")
    return "", [asked]


def test_every_question_has_the_answer_that_its_words_ask_for():
    for sample, statement in statements():
        frame, asked = asked_of(statement)
        values = [read(sample.scenes, each) for each in asked]
        said = [value.text for value in statement.values]
        if frame == ", and what do they make":
            assert said == [*values, NUMBERS[sum(map(NUMBERS.index, values))]]
        elif frame:
            assert said == [*values, "equal" if values[0] == values[1] else "different"]
        else:
            assert said == [values[0] or UNKNOWN]


def test_an_answer_says_what_it_is_about_in_the_words_of_the_question():
    for _, statement in statements():
        _, asked = asked_of(statement)
        sentence = statement.text[0].lower() + statement.text[1:]
        for each in asked:
            verb = {"weigh": "weighs", "cost": "costs", "turn": "turns"}.get(each.split()[-1], "is")
            words = each.removeprefix("what colour ").removeprefix("what is ")
            words = words.removeprefix("what does ").removeprefix("is ").replace(" does ", " ")
            words = words.replace("in the video is the ", "in the video the ")
            assert f"{words.removesuffix(' ' + verb[:-1])} {verb} " in sentence, (each, sentence)


def test_references_that_nobody_asked_for_are_right_too():
    count = 0
    for sample in drawn()[:150]:
        found = references(sample.scenes)
        assert len({each.asked for each in found}) == len(found)
        assert len({each.said for each in found}) == len(found)
        for each in found:
            assert read(sample.scenes, each.asked) == each.value, each.asked
            assert bool(each.sources) == (each.value is not None)
            assert all(source.part == each.part for source in each.sources)
            count += 1
    assert count > 5_000


def test_sources_are_where_the_value_is():
    seen = set()
    for sample, statement in statements():
        seen.add(statement.category)
        values = [carried(sample.scenes[source.part], source) for source in statement.sources]
        assert all(source.message == 0 for source in statement.sources)
        if statement.category == "refusal":
            assert statement.value == UNKNOWN
            assert not values
        elif statement.category == "two-sum":
            said = [found & set(NUMBERS) for found in values if not found <= set(TONES)]
            one, other = ({NUMBERS.index(v) for v in found} for found in said)
            assert NUMBERS.index(statement.value) in {a + b for a in one for b in other}
        elif statement.category == "two-agree":
            sort = set(COLOURS if "colour" in statement.question else NUMBERS)
            one, other = (found & sort for found in values if not found <= set(TONES))
            assert one
            assert other
            assert statement.value == ("equal" if one == other else "different")
        elif statement.category == "audio-after":
            number, tone = values
            assert statement.value in number
            assert f"after the {tone.pop()} sound" in statement.text
        else:
            (found,) = values
            assert statement.value in found
        if statement.category.startswith("two-"):
            assert len({source.part for source in statement.sources}) == 2
    assert seen == set(CATEGORIES)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_evidence_of_a_category_is_of_its_modality(category):
    kinds = {"text": Note, "image": Image, "audio": Audio, "video": Video}
    kind = kinds.get(category.partition("-")[0])
    for sample, statement in statements():
        if statement.category == category and kind is not None:
            for source in statement.sources:
                assert isinstance(sample.scenes[source.part], kind)
                assert (getattr(source, "stream", None) == "audio") == (category == "video-digit")
