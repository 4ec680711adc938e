"""Questions of several steps: every step has its own evidence, the answer that of all of them.

The generator goes from what the parts show to questions and steps. Here a question is read anew, by
its words alone, and answer, steps and evidence are found in the scenes by another way.
"""

import collections
import re

import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.schema import Label
from omnitrace.reference.control import without_evidence
from omnitrace.reference.files import labels
from omnitrace.reference.questions import references
from omnitrace.reference.scenes import Image, Note
from omnitrace.reference.words import PLACES, SUMS, world_words
from omnitrace.reference.world import (
    THINKING_CATEGORIES,
    make_sample,
    training_seed,
)
from omnitrace.segmentation.thinking import Thinking
from tests.helpers.reference_questions import bearing, carried, of, only, read
from tests.helpers.reference_samples import held_out


def drawn():
    return held_out(400, thinking=True)


MARKERS = Thinking()


def parts_of(sample):
    """Yield each question with its thoughts and its answer.

    Thoughts stand in the order of the questions, and the last of each question's begin with "So".
    """
    thoughts = [each for each in sample.statements if each.section == "thought"]
    for answer in [each for each in sample.statements if each.section == "answer"]:
        own = []
        while thoughts and not (own and own[-1].text.startswith("So ") and not follows(thoughts)):
            own.append(thoughts.pop(0))
        yield own, answer
    assert not thoughts


def follows(thoughts):
    return thoughts[0].text.startswith("So ")


def asked_by(name):
    """Return how a thing that a question names is asked for by itself."""
    fact = re.fullmatch(r"what the (\w+) (weigh|cost)s", name)
    return f"what does the {fact[1]} {fact[2]}" if fact else f"what is {name}"


def said_of(name, value):
    """Return the sentence that says the value of a thing that a question names."""
    fact = re.fullmatch(r"what (the \w+ (weighs|costs))", name)
    if fact:
        unit = {"weighs": "grams", "costs": "coins"}[fact[2]]
        return f"{fact[1].capitalize()} {value} {unit}."
    return f"{name[0].upper()}{name[1:]} is {value}."


def names_in(question):
    pattern = r"(?:What is the sum of|Which is more,|How many of) (.+?)(?: are odd)?\?"
    return re.split(r", | and | or ", re.fullmatch(pattern, question)[1])


def expected(sample, question):
    """Return the category, the thoughts and the answer, word by word."""
    if found := re.fullmatch(r"How many things in the image are (\w+)\?", question):
        items = {each.place: each.colour for each in only(sample.scenes, Image).items}
        seen = [place for place in PLACES if place in items]
        looked = [f"The colour at the {place} is {items[place]}." for place in seen]
        counted = [f"the {place}" for place in seen if items[place] == found[1]]
        return (
            "think-colour",
            [*looked, f"So {listed(counted)} {found[1]}."],
            total(counted, found[1]),
        )
    names = names_in(question)
    words = [read(sample.scenes, asked_by(name)) for name in names]
    looked = [said_of(*pair) for pair in zip(names, words, strict=True)]
    numbers = [SUMS.index(word) for word in words]
    if "sum" in question:
        steps, so_far = [], numbers[0]
        for number in numbers[1:]:
            steps.append(f"So {SUMS[so_far]} and {SUMS[number]} make {SUMS[so_far + number]}.")
            so_far += number
        return "think-add", looked + steps, f"The sum is {SUMS[so_far]}."
    if "odd" in question:
        counted = [word for word, number in zip(words, numbers, strict=True) if number % 2]
        return "think-odd", [*looked, f"So {listed(counted)} odd."], total(counted, "odd")
    assert numbers[0] != numbers[1]
    more = numbers[0] > numbers[1]
    verdict = f"So {words[0]} is {'more' if more else 'less'} than {words[1]}."
    name = names[0] if more else names[1]
    said = name.removeprefix("what ") if name.startswith("what ") else f"{name} is"
    return "think-compare", [*looked, verdict], f"{said[0].upper()}{said[1:]} more."


def listed(counted):
    if len(counted) < 2:
        return f"{(counted or ['none'])[0]} is"
    return f"{', '.join(counted[:-1])} and {counted[-1]} are"


def total(counted, word):
    verb = "is" if len(counted) == 1 else "are"
    return f"In all, {SUMS[len(counted)]} {verb} {word}."


def test_the_same_seed_gives_the_same_sample_and_the_parts_of_other_questions():
    same = 0
    for sample in drawn()[:60]:
        assert make_sample(sample.seed, thinking=True) == sample
        same += make_sample(sample.seed).scenes == sample.scenes
    assert same > 40  # the others got a note, to have numbers


def test_answers_and_thoughts_are_what_the_words_of_the_question_ask_for():
    seen = collections.Counter()
    for sample in drawn():
        for thoughts, answer in parts_of(sample):
            category, steps, said = expected(sample, answer.question)
            assert answer.category == category
            assert [each.text for each in thoughts] == steps
            assert answer.text == said
            assert {each.category for each in thoughts} == {"thought"}
            seen[category] += 1
    assert set(seen) == set(THINKING_CATEGORIES)
    assert min(seen.values()) > 30


def test_the_answer_writes_its_thoughts_between_the_markers():
    for sample in drawn():
        before, thoughts, after = re.fullmatch(
            rf"(.*){MARKERS.opening} (.+) {MARKERS.closing} (.+)", sample.answer
        ).groups()
        assert not before
        for section, text in (("thought", thoughts), ("answer", after)):
            assert text == " ".join(s.text for s in sample.statements if s.section == section)
        assert sample.question.count("?") == after.count(".")


def test_ranges_spell_sentences_and_values():
    for sample in drawn():
        for statement in sample.statements:
            assert sample.answer[statement.start : statement.end] == statement.text
            assert statement.values
            for value in statement.values:
                assert sample.answer[value.start : value.end] == value.text
                assert statement.start <= value.start < value.end < statement.end


def test_a_thought_that_looks_something_up_rests_on_where_it_is():
    count = 0
    for sample in drawn():
        for statement in sample.statements:
            if statement.section == "thought" and not statement.text.startswith("So "):
                (source,), (value,) = bearing(sample.scenes, statement.sources), statement.values
                assert value.sources == statement.sources
                assert value.text in carried(sample.scenes[source.part], source)
                count += 1
    assert count > 1000


def test_what_follows_rests_on_the_thoughts_that_it_repeats_and_the_answer_on_all():
    """A number that two thoughts say may rest on either: its evidence is that of one of them."""
    for sample in drawn():
        for thoughts, answer in parts_of(sample):
            looked = [each for each in thoughts if not each.text.startswith("So ")]
            everything = {source for each in looked for source in each.sources}
            assert set(answer.sources) == everything
            assert set(answer.values[-1].sources) == everything
            assert len(answer.sources) == len(everything)
            assert len(bearing(sample.scenes, answer.sources)) == len(looked)
            known = collections.defaultdict(list)
            for each in looked:
                place = re.fullmatch(r"The colour (at the .+) is \w+\.", each.text)
                known[place[1].removeprefix("at ") if place else each.value].append(each.sources)
            for step in (each for each in thoughts if each.text.startswith("So ")):
                assert set(step.sources) == {s for value in step.values for s in value.sources}
                *repeated, last = step.values
                if " make " in step.text:
                    assert set(last.sources) == {s for value in repeated for s in value.sources}
                    known[last.text].append(last.sources)
                for value in step.values:
                    if value.text in ("none", "more", "less"):
                        assert set(value.sources) == everything
                    else:
                        assert value.sources in known[value.text], (step.text, value.text)
            if answer.category == "think-add":
                assert set(thoughts[-1].sources) == everything


def is_number(reference):
    return reference.sort == "number" and reference.value is not None


def test_what_is_put_together_is_of_as_many_parts_as_can_be():
    apart = collections.Counter()
    for sample in drawn():
        for statement in sample.statements:
            if statement.category in ("think-add", "think-compare"):
                assert 2 <= len(bearing(sample.scenes, statement.sources)) <= 3
                apart[len({source.part for source in statement.sources})] += 1
    assert apart[2] + apart[3] > 2 * apart[1]
    assert apart[3] > 10
    for number in range(40):
        sample = make_sample(number, order=("text", "image"), thinking=True, questions=3)
        numbers = {each.part for each in references(sample.scenes) if is_number(each)}
        for statement in sample.statements:
            if statement.category == "think-compare" and numbers == {0, 1}:
                assert {source.part for source in statement.sources} == {0, 1}


def test_labels_name_the_evidence_of_every_sentence():
    for sample in drawn()[:60]:
        label = labels(sample)
        assert Label.model_validate_json(label.model_dump_json()) == label
        assert label.response == sample.answer
        for span, statement in zip(label.spans, sample.statements, strict=True):
            assert (span.text, span.category) == (statement.text, statement.category)
            assert span.sources == statement.sources
            assert [word.sources for word in span.words] == [v.sources for v in statement.values]


def test_without_its_evidence_nothing_can_be_looked_up():
    gone = 0
    for sample in drawn()[:150]:
        bare = without_evidence(sample)
        assert (bare.question, bare.answer) == (sample.question, sample.answer)
        for statement in sample.statements:
            if statement.category in ("think-add", "think-odd"):
                names = names_in(statement.question)
                # Another number may come after the sound now.
                names = [name for name in names if "after" not in name]
                assert [read(bare.scenes, asked_by(name)) for name in names] == [None] * len(names)
                gone += len(names)
            if statement.category == "think-colour":
                assert not of(bare.scenes, Image)[0].items
    assert gone > 100


def test_no_question_is_asked_twice_and_many_can_be_asked():
    many = 0
    for number in range(60):
        sample = make_sample(number, questions=30, order=("text", "image", "audio"), thinking=True)
        asked = [each.question for each in sample.statements if each.question]
        assert len(set(asked)) == len(asked)
        many += len(asked) > 10
    assert many > 40


def test_categories_and_parts_can_be_chosen():
    wanted = ("think-compare", "think-add")
    for number in range(30):
        sample = make_sample(number, order=("text", "text"), categories=wanted, thinking=True)
        assert sample.order == ("text", "text")
        asked = {each.category for each in sample.statements if each.section == "answer"}
        assert asked <= set(wanted)
        assert make_sample(number, questions=1, thinking=True).question.count("?") == 1


def test_every_seed_has_something_to_ask():
    drawn = [make_sample(training_seed(201, n), thinking=True) for n in range(300)]
    assert {sample.question.count("?") for sample in drawn} == {1, 2, 3}
    assert all(any(isinstance(s, Note) for s in d.scenes) or d.statements for d in drawn)


@pytest.mark.parametrize(
    "arguments",
    [
        {"order": ("text",), "categories": ("think-colour",)},
        {"categories": ("text-price",)},
        {"order": ("video",), "sounding": False},
    ],
)
def test_what_cannot_be_asked_is_refused(arguments):
    with pytest.raises(InputError, match="think-add"):
        make_sample(0, thinking=True, **arguments)


def test_every_word_is_in_the_list_of_words():
    known = set(world_words(thinking=True))
    assert set(world_words()) < known
    for sample in drawn():
        said = sample.answer.replace(MARKERS.opening, "").replace(MARKERS.closing, "")
        for word in re.findall(r"[A-Za-z]+", f"{said} {sample.question}"):
            assert word in known or word.lower() in known
