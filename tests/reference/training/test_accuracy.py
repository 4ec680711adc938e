"""How accuracy is counted: where a value must stand, which samples, and the whole way round."""

import collections
import itertools
import json

import pytest

from omnitrace.errors import InputError, ModelError
from omnitrace.reference.control import without_evidence
from omnitrace.reference.files import write_sample
from omnitrace.reference.scenes import Audio, Video
from omnitrace.reference.training import accuracy
from omnitrace.reference.training.accuracy import (
    CHANCE,
    KINDS,
    THINKING_CHANCE,
    THINKING_KINDS,
    answer_files,
    load_model,
    samples_of,
    score,
    score_sentences,
)
from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer
from omnitrace.reference.world import (
    CATEGORIES,
    HELD_OUT,
    MODALITIES,
    THINKING_CATEGORIES,
    VALIDATION,
    held_out_seed,
    make_sample,
    validation_seed,
)
from omnitrace.tracer import Tracer


def test_right_answers_are_right():
    for number in range(100):
        sample = make_sample(held_out_seed(number))
        assert score(sample.statements, sample.answer) == [True] * len(sample.statements)


def test_the_sentence_of_the_same_place_counts():
    sample = make_sample(held_out_seed(1), questions=3, order=MODALITIES)
    first, second, third = sample.statements
    shifted = " ".join(statement.text for statement in (second, third, first))
    assert score(sample.statements, shifted) == [
        ours.value == said.value
        for ours, said in zip(sample.statements, (second, third, first), strict=True)
    ]
    assert score(sample.statements, first.text) == [True, False, False]
    assert score(sample.statements, "") == [False] * 3
    assert score(sample.statements, sample.answer + " The key is old.") == [True] * 3


def statement(value):
    """Return a statement with the value, of a question about a number in a second."""
    for number in itertools.count():
        try:
            sample = make_sample(
                number, questions=1, order=("audio",), categories=("audio-digit",), long=False
            )
        except InputError:
            continue
        if sample.statements[0].value == value:
            return sample.statements[0]
    raise AssertionError


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The number in second one is three.", True),
        ("The number in second three is two.", False),  # what it is about is no value
        ("The number in second three is three", True),
        ("The number in second three", False),
        ("Three.", False),
        ("The number in second three is unknown.", False),
        ("The number in second one is thirteen.", False),
        ("The number in second one is nine and the key weighs six grams, together three.", True),
        ("The number in second one is three and the key weighs six grams, together nine.", False),
    ],
)
def test_the_value_stands_behind_the_verb(answer, right):
    assert score([statement("three")], answer) == [right]


def test_every_category_but_refusals_has_a_chance():
    assert set(CHANCE) == set(CATEGORIES) - {"refusal"}
    assert all(0 < chance <= 0.5 for chance in CHANCE.values())


def seconds(sample):
    return [s.seconds for s in sample.scenes if isinstance(s, Audio | Video)]


def test_samples_of_one_question():
    drawn = list(samples_of("one", 2, 0))
    asked = collections.Counter(s.category for sample in drawn for s in sample.statements)
    assert asked == dict.fromkeys(CATEGORIES, 2)
    assert all(len(sample.statements) == 1 for sample in drawn)
    assert all(sample.seed >= HELD_OUT for sample in drawn)
    assert list(samples_of("one", 2, 0)) == drawn
    assert {s.seed for s in drawn}.isdisjoint(s.seed for s in samples_of("one", 2, 1))
    bare = list(samples_of("evidence removed", 2, 0))
    assert bare == [without_evidence(s) for s in drawn if s.statements[0].category in CHANCE]


def test_samples_of_several_questions_and_long_media():
    several = list(samples_of("several", 10, 0))
    assert len(several) == 30
    assert {len(sample.statements) for sample in several} == {2, 3, 4, 5, 6}
    assert all(max(seconds(sample), default=0) < 30 for sample in several)
    long = list(samples_of("long", 10, 0))
    assert len(long) == 20
    assert sum(max(seconds(sample)) > 20 for sample in long) > 15
    for sample in long:
        assert max(seconds(sample)) > 10
        assert {s.category.partition("-")[0] for s in sample.statements} <= {"audio", "video"}
    everything = [
        sample.seed for kind in KINDS[:3] for seed in (0, 1) for sample in samples_of(kind, 5, seed)
    ]
    assert len(set(everything)) == len(everything)
    for kind in KINDS[:3]:
        assert all(sample.aligned for sample in samples_of(kind, 1, 0, aligned=True))
    validation = list(samples_of("several", 2, 0, numbered=validation_seed))
    assert all(VALIDATION <= sample.seed < HELD_OUT for sample in validation)


def thinking(number, **arguments):
    return make_sample(held_out_seed(number), thinking=True, **arguments)


def test_steps_and_answers_are_right_to_the_letter_in_their_place():
    for number in range(60):
        sample = thinking(number)
        count = len(sample.statements)
        assert score_sentences(sample.statements, sample.answer) == [True] * count
        thoughts, answers = sample.answer.split(" </think> ")
        is_answer = [each.section == "answer" for each in sample.statements]
        assert score_sentences(sample.statements, answers) == is_answer  # nothing was thought
        assert score_sentences(sample.statements, thoughts + " </think>") == [
            not each for each in is_answer
        ]
        # What was never closed is no thought, and no answer either.
        assert not any(score_sentences(sample.statements, thoughts))
        longer = sample.answer.replace("</think>", "The key is old. </think>")
        assert all(score_sentences(sample.statements, longer))
        value = sample.statements[0].values[0]
        wrong = sample.answer[: value.start] + "fifty" + sample.answer[value.end :]
        assert score_sentences(sample.statements, wrong) == [False] + [True] * (count - 1)


def test_samples_of_several_steps():
    drawn = list(samples_of("steps, one", 2, 0))
    asked = [[s.category for s in d.statements if s.section == "answer"] for d in drawn]
    assert asked == [[category] for category in THINKING_CATEGORIES for _ in range(2)]
    bare = list(samples_of("steps, evidence removed", 2, 0))
    assert bare == [without_evidence(sample) for sample in drawn]
    several = list(samples_of("steps, several", 2, 0, numbered=validation_seed))
    assert {each.question.count("?") for each in several} <= {2, 3}
    assert all(VALIDATION <= sample.seed < HELD_OUT for sample in several)
    assert set(THINKING_CHANCE) == set(THINKING_CATEGORIES)


@pytest.fixture(scope="module")
def babbler(tmp_path_factory):
    """A folder with the architecture of the reference model and random weights."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    build_model(tokenizer).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    return folder


def test_files_are_answered_as_by_the_library(babbler, tmp_path):
    adapter = load_model(babbler)
    for order in (("text", "image"), ("video", "audio")):
        sample = make_sample(held_out_seed(2), order=order, long=False)
        path = write_sample(sample, tmp_path)
        answer, stopped = answer_files(path, adapter, max_new_tokens=5)
        trace = Tracer(adapter=adapter).trace(
            sample.messages, media_root=tmp_path, max_new_tokens=5
        )
        assert answer == trace.text
        assert not stopped


def test_the_figures_of_a_model(babbler, tmp_path, capsys):
    file = tmp_path / "figures.json"
    arguments = ["--model", babbler, "--samples", "1", "--validation", "--json", file]
    arguments += ["--kinds", "several", "long", "--max-new-tokens", "5"]
    assert accuracy.main([str(each) for each in arguments]) == 0
    report = json.loads(file.read_text())
    assert (report["seeds"], report["samples"], report["seed"]) == ("validation", 1, 0)
    assert report["model"] == str(babbler)
    assert report["chance"] == CHANCE
    assert set(report["accuracy"]) == {"several", "long"}
    for kind, figures in report["accuracy"].items():
        drawn = list(samples_of(kind, 1, 0, numbered=validation_seed))
        asked = collections.Counter(s.category for sample in drawn for s in sample.statements)
        asked["exact answers"] = len(drawn)
        assert {name: counts["total"] for name, counts in figures.items()} == asked
    assert report["ended by itself"] == {"right": 0, "total": 5, "unknown": 0, "share": 0.0}
    printed = capsys.readouterr().out
    assert "validation" in printed
    assert all(category in printed for category in CATEGORIES)


def test_the_figures_of_a_model_that_should_write_its_steps(babbler, capsys):
    arguments = ["--model", babbler, "--samples", "1", "--thinking", "--max-new-tokens", "5"]
    assert accuracy.main([str(each) for each in arguments]) == 0
    printed = capsys.readouterr().out
    assert all(category in printed for category in (*THINKING_CATEGORIES, "thought"))
    assert "two-sum" not in printed
    report = accuracy.measure_accuracy(
        1, 0, model=babbler, kinds=THINKING_KINDS[:1], max_new_tokens=5, validation=True
    )
    (figures,) = report["accuracy"].values()
    drawn = list(samples_of(THINKING_KINDS[0], 1, 0, numbered=validation_seed))
    asked = collections.Counter(s.category for sample in drawn for s in sample.statements)
    asked["exact answers"] = len(drawn)
    assert {name: counts["total"] for name, counts in figures.items()} == asked
    assert report["chance"] == THINKING_CHANCE


def test_mistakes_are_named(babbler, capsys):
    with pytest.raises(InputError, match="samples is 0"):
        accuracy.measure_accuracy(0, 0, model=babbler)
    with pytest.raises(InputError, match="'many' is no kind of request"):
        accuracy.measure_accuracy(1, 0, model=babbler, kinds=("one", "many"))
    with pytest.raises(ModelError, match="no model folder"):
        load_model("./nowhere")
    with pytest.raises(SystemExit) as ended:
        accuracy.main(["--model", "./nowhere"])
    assert ended.value.code == 2
    assert "no model folder" in capsys.readouterr().err
