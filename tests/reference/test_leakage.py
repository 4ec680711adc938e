"""No value can be guessed: neither from how often it is right, nor from anything but its evidence.

A model that is right without reading the evidence would make every measure of attribution a lie.
So, over 3000 training samples: the values of a category are as mixed as they can be, and nothing
that can be seen of a request but the evidence itself tells anything of a value.
"""

import collections
import functools
import math

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.training.accuracy import CHANCE, THINKING_CHANCE
from omnitrace.reference.words import COLOURS, DIGITS, QUANTITIES, SHAPES, TONES, UNKNOWN
from omnitrace.reference.world import CATEGORIES, MODALITIES, make_sample, training_seed
from tests.helpers.reference_questions import bearing

# About 220 to 900 statements a category. Of n draws from k equally likely values the entropy falls
# short of log k by (k - 1) / 2n nats on average: by 1 % of it for the rarest category.
MIXED = 0.975
# Some 180 tests of independence, each of them by chance below this once in 100 000 times.
UNLIKELY = 1e-5

VALUES = {
    "text-weight": QUANTITIES,
    "text-price": QUANTITIES,
    "image-shape": SHAPES,
    "image-colour": tuple(COLOURS),
    "image-digit": DIGITS,
    "audio-tone": tuple(TONES),
    "audio-digit": DIGITS,
    "audio-after": DIGITS,
    "video-second": tuple(COLOURS),
    "video-object": tuple(COLOURS),
    "video-turn": tuple(COLOURS),
    "video-digit": DIGITS,
    "two-agree": ("different", "equal"),
}


@functools.cache
def samples():
    return [make_sample(training_seed(200, number)) for number in range(3000)]


def told():
    for sample in samples():
        for index, statement in enumerate(sample.statements):
            if statement.sources:
                yield sample, index, statement


@pytest.mark.parametrize("category", VALUES)
def test_all_values_of_a_category_are_as_frequent(category):
    counts = collections.Counter(s.value for _, _, s in told() if s.category == category)
    assert set(counts) == set(VALUES[category])
    total = counts.total()
    assert total > 200
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    assert entropy > MIXED * math.log(len(counts))


def test_the_best_guess_is_as_good_as_chance_is_said_to_be():
    for category in CATEGORIES:
        counts = collections.Counter(s.value for _, _, s in told() if s.category == category)
        if category == "refusal":
            assert not counts
            assert category not in CHANCE
        else:
            # The largest of some hundred shares is hardly ever above this many standard errors.
            error = math.sqrt(CHANCE[category] * (1 - CHANCE[category]) / counts.total())
            assert max(counts.values()) / counts.total() < CHANCE[category] + 4.5 * error, category


def size(scene):
    """Return how large a part is in the first way that shows, and how much it holds."""
    if isinstance(scene, Note):
        return len(scene.text), len(scene.facts)
    if isinstance(scene, Image):
        return scene.width * scene.height, len(scene.items)
    if isinstance(scene, Audio):
        return scene.seconds, len(scene.events)
    return scene.seconds, len(scene.appearances)


def seen(sample, index, statement):
    """Return all that shows of a request without its evidence, as numbers."""
    source = statement.sources[0]
    scene = sample.scenes[source.part]
    timed = [each.seconds for each in sample.scenes if isinstance(each, Audio | Video)]
    values = {
        "parts": len(sample.scenes),
        "first part": MODALITIES.index(sample.order[0]),
        "last part": MODALITIES.index(sample.order[-1]),
        "part of the evidence": source.part,
        "seconds of all media": sum(timed),
        "questions": len(sample.statements),
        "place among the questions": index,
        "words of the question": len(statement.question.split()),
        "letters of the question": len(statement.question),
        "size of the part": size(scene)[0],
        "things in the part": size(scene)[1],
        "sample": sample.seed % 7,
    }
    if isinstance(scene, Image):
        values |= {"left": source.box[0], "top": source.box[1], "light": scene.grey}
        values["size of the item"] = source.box[2] - source.box[0]
    else:
        values["start of the evidence"] = source.start
    if isinstance(scene, Video):
        values |= {"width": scene.width, "light": scene.grey}
    return values


def table(pairs):
    """Count values against fifths of what is seen; int ``[values, up to 5]``."""
    numbers = np.array([number for _, number in pairs], dtype=float)
    # Fifths, or fewer where many are equal: then each number that stands at an edge begins one.
    edges = np.unique(np.quantile(numbers, [0.2, 0.4, 0.6, 0.8]))
    places = np.searchsorted(edges, numbers, side="right")
    names = sorted({value for value, _ in pairs})
    counts = np.zeros((len(names), len(edges) + 1), dtype=int)
    for (value, _), place in zip(pairs, places, strict=True):
        counts[names.index(value), place] += 1
    return counts[:, counts.sum(axis=0) > 0]


def observed():
    """Yield what is told and what is seen: category, name, and a list of (value, number)."""
    rows = collections.defaultdict(list)
    for sample, index, statement in told():
        category = statement.category
        if category == "two-sum":  # notes tell two to nine, the other parts zero to nine
            notes = sum(source.type == "text" for source in statement.sources)
            category = f"two-sum, {notes} of notes"
        for name, number in seen(sample, index, statement).items():
            rows[category, name].append((statement.value, number))
    return rows


def independent(rows):
    """Assert that nothing observed tells of what it stands beside; return how much was tested."""
    tested = 0
    for (category, name), pairs in rows.items():
        counts = table(pairs)
        if counts.shape[1] > 1 and len(pairs) > 100:
            tested += 1
            found = chi2_contingency(counts).pvalue
            assert found > UNLIKELY, f"{category} depends on the {name}: p = {found:.1e}"
    return tested


def test_nothing_but_the_evidence_tells_of_a_value():
    assert independent(observed()) > 150


def test_the_test_would_find_a_leak():
    pairs = [
        (statement.value, statement.sources[0].end - statement.sources[0].start)
        for _, _, statement in told()
        if statement.category == "audio-digit"
    ]
    # How long a spoken digit lasts does tell of it; it goes with the evidence.
    assert chi2_contingency(table(pairs)).pvalue < UNLIKELY


def test_whether_an_answer_is_known_does_not_depend_on_where_it_is_asked_for():
    pairs = [
        (statement.value == UNKNOWN, index)
        for sample in samples()
        if len(sample.statements) == 6
        for index, statement in enumerate(sample.statements)
    ]
    counts = np.zeros((2, 6), dtype=int)
    for unknown, index in pairs:
        counts[int(unknown), index] += 1
    assert counts.sum() > 1500
    assert chi2_contingency(counts).pvalue > UNLIKELY
    assert 0.05 < counts[1].sum() / counts.sum() < 0.25


def test_different_parts_of_a_request_tell_nothing_of_each_other():
    """Values of the same sort in one request are equal as often as chance has it."""
    for sort, values in (("digit", DIGITS), ("colour", tuple(COLOURS))):
        equal = total = 0
        for sample in samples():
            shown = []
            for scene in sample.scenes:
                things = [*getattr(scene, "items", ()), *getattr(scene, "events", ())]
                if sort == "digit":
                    shown.append([each.name for each in things if each.kind == "digit"][:1])
                else:
                    things += getattr(scene, "appearances", ())
                    shown.append([e.colour for e in things if hasattr(e, "colour")][:1])
            shown = [names[0] for names in shown if names]
            if len(shown) > 1:
                equal += shown[0] == shown[1]
                total += 1
        chance = 1 / len(values)
        assert total > 500
        assert abs(equal / total - chance) < 4 * math.sqrt(chance * (1 - chance) / total)


def test_an_answer_tells_nothing_of_the_next_one():
    pairs = []
    for sample in samples():
        said = [each.value for each in sample.statements if each.category == "two-agree"]
        pairs += [said[:2]] if len(said) > 1 else []
    same = sum(one == other for one, other in pairs)
    assert len(pairs) > 50
    assert abs(same / len(pairs) - 0.5) < 4 * 0.5 / math.sqrt(len(pairs))


@functools.cache
def thinking_samples():
    return [make_sample(training_seed(201, number), thinking=True) for number in range(3000)]


def decided(statement):
    """Return what an answer of several steps decides: which of two, how many, or the sum."""
    if statement.category == "think-compare":
        asked, said = statement.question.lower(), statement.value.lower()
        first, _ = asked.removeprefix("which is more, ").removeprefix("what ").split(" or ")
        return "first" if said == first else "second"
    return statement.value


def thought_out():
    """Yield the answers of several steps, and how many of the numbers are of notes."""
    for sample in thinking_samples():
        answers = [each for each in sample.statements if each.section == "answer"]
        for index, statement in enumerate(answers):
            numbers = bearing(sample.scenes, statement.sources)
            yield sample, index, statement, [source.type == "text" for source in numbers]


def test_answers_of_several_steps_are_as_mixed_as_they_are_said_to_be():
    counts = collections.defaultdict(collections.Counter)
    for _, _, statement, _ in thought_out():
        counts[statement.category][decided(statement)] += 1
    assert set(counts) == set(THINKING_CHANCE)
    for category, found in counts.items():
        total = found.total()
        assert total > 300
        chance = THINKING_CHANCE[category]
        error = math.sqrt(chance * (1 - chance) / total)
        assert max(found.values()) / total < chance + 4 * error, category
        if category != "think-add":
            assert max(found.values()) / total > chance - 4 * error, category


def test_nothing_but_the_evidence_tells_of_an_answer_of_several_steps():
    rows = collections.defaultdict(list)
    for sample, index, statement, of_notes in thought_out():
        numbers = bearing(sample.scenes, statement.sources)
        values = seen(sample, index, statement) | {
            "first number is of a note": of_notes[0],
            "numbers of notes": sum(of_notes),
            "pieces of evidence": len(of_notes),
            "same part": len({each.part for each in numbers[:2]}) == 1,
        }
        category = statement.category
        if category == "think-add":  # notes tell two to nine, the other parts zero to nine
            category = f"think-add, {sum(of_notes)} of {len(of_notes)} of notes"
        for name, number in values.items():
            rows[category, name].append((decided(statement), number))
    assert independent(rows) > 80


def test_an_answer_of_several_steps_tells_nothing_of_the_next_one():
    pairs = collections.defaultdict(list)
    for sample in thinking_samples():
        for category in ("think-compare", "think-odd"):
            said = [decided(each) for each in sample.statements if each.category == category]
            pairs[category] += [tuple(said[:2])] if len(said) > 1 else []
    # Comparisons and counts of one request share numbers, which are read; their sides are drawn.
    same = sum(one == other for one, other in pairs["think-compare"])
    assert len(pairs["think-compare"]) > 100
    assert abs(same / len(pairs["think-compare"]) - 0.5) < 2 / math.sqrt(
        len(pairs["think-compare"])
    )
