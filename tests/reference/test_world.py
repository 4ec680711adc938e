"""The generated world: determinism, seeds, and requests and answers of the promised form."""

import collections
import hashlib
import os
import subprocess
import sys

import pytest

from omnitrace.errors import InputError
from omnitrace.reference.questions import references
from omnitrace.reference.scenes import Audio, Note, Video
from omnitrace.reference.words import world_words
from omnitrace.reference.world import (
    CATEGORIES,
    HELD_OUT,
    MODALITIES,
    VALIDATION,
    held_out_seed,
    make_sample,
    media_name,
    modality_of,
    training_seed,
    validation_seed,
)
from tests.helpers.reference_samples import held_out


def drawn():
    return held_out(400)[:300]


def test_the_same_arguments_give_the_same_sample():
    for sample in drawn()[:60]:
        assert make_sample(sample.seed) == sample
    assert len({sample.scenes for sample in drawn()}) == len(drawn())


def test_another_process_draws_the_same_samples():
    code = (
        "import hashlib; from omnitrace.reference.world import held_out_seed, make_sample\n"
        "drawn = [make_sample(held_out_seed(n)) for n in range(60)]\n"
        "print(hashlib.sha256(repr(drawn).encode()).hexdigest())"
    )
    ours = hashlib.sha256(repr(drawn()[:60]).encode()).hexdigest()
    for hash_seed in ("1", "2"):  # the order of sets must not matter
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == ours


def test_training_validation_and_held_out_seeds_never_meet():
    assert training_seed(0, 0) == 0
    assert training_seed(2**8 - 1, 2**32 - 1) == VALIDATION - 1
    assert validation_seed(0) == VALIDATION
    assert validation_seed(HELD_OUT - VALIDATION - 1) == HELD_OUT - 1
    assert held_out_seed(0) == HELD_OUT
    assert len({training_seed(run, number) for run in range(9) for number in range(9)}) == 81
    for seed in (lambda: training_seed(2**8, 0), lambda: training_seed(0, 2**32)):
        with pytest.raises(InputError, match=r"run in \[0, 2\*\*8\)"):
            seed()
    for number in (-1, HELD_OUT - VALIDATION):
        with pytest.raises(InputError, match=f"validation sample {number}"):
            validation_seed(number)
    with pytest.raises(InputError, match="held-out sample -1"):
        held_out_seed(-1)


def test_media_that_training_keeps_are_those_of_no_other_sample():
    def seeds(sample):
        return {scene.seed for scene in sample.scenes if not isinstance(scene, Note)}

    for number in range(60):
        kept = make_sample(training_seed(1, number), pool=100)
        assert all(seed < 100 for seed in seeds(kept))
        assert all(seed >= 2**32 for seed in seeds(make_sample(held_out_seed(number))))


def test_ranges_of_the_answer_spell_statements_and_values():
    for sample in drawn():
        end = -1
        for statement in sample.statements:
            assert statement.start == end + 1
            end = statement.end
            assert sample.answer[statement.start : statement.end] == statement.text
            assert sample.answer[statement.value_start : statement.value_end] == statement.value
            assert statement.start < statement.value_start < statement.value_end < statement.end
        assert end == len(sample.answer)


def test_the_question_is_last_and_media_names_tell_nothing():
    for sample in drawn():
        (message,) = sample.messages
        *parts, last = message["content"]
        assert message["role"] == "user"
        assert last == {"type": "text", "text": sample.question}
        assert sample.question.count("?") == len(sample.statements)
        assert len({statement.question for statement in sample.statements}) == len(
            sample.statements
        )
        endings = {"image": "png", "audio": "wav", "video": "mp4"}
        for number, (part, scene) in enumerate(zip(parts, sample.scenes, strict=True)):
            assert part["type"] == modality_of(scene) == sample.order[number]
            if isinstance(scene, Note):
                assert part == {"type": "text", "text": scene.text}
            else:
                # The modality and the place of the part, which the request shows anyway.
                name = f"{part['type']}-{number}.{endings[part['type']]}"
                assert part[part["type"]] == media_name(number, scene) == name
        assert sample.id == f"reference-{sample.seed}"


def test_requests_vary_in_everything_that_the_world_promises():
    orders = {sample.order for sample in drawn()}
    assert len(orders) > 60
    assert {len(order) for order in orders} >= {1, 2, 3, 4, 5, 6}
    assert {order[0] for order in orders} == {order[-1] for order in orders} == set(MODALITIES)
    assert {len(sample.statements) for sample in drawn()} == {1, 2, 3, 4, 5, 6}
    asked = collections.Counter(s.category for sample in drawn() for s in sample.statements)
    assert set(asked) == set(CATEGORIES)
    rests_on = {len({x.part for x in s.sources}) for each in drawn() for s in each.statements}
    assert rests_on == {0, 1, 2}
    timed = [s for sample in drawn() for s in sample.scenes if isinstance(s, Audio | Video)]
    long = [scene for scene in timed if scene.seconds >= 20]
    assert 10 < len(long) < 0.3 * len(timed)
    videos = [scene for scene in timed if isinstance(scene, Video)]
    assert 0.25 < sum(video.sound is not None for video in videos) / len(videos) < 0.55


def test_all_videos_of_a_request_sound_or_none():
    for sample in drawn():
        videos = [scene for scene in sample.scenes if isinstance(scene, Video)]
        assert len({video.sound is None for video in videos}) <= 1
        for video in videos:
            assert video.seconds % 2 == 0
            assert video.sound is None or video.sound.seconds == video.seconds


@pytest.mark.parametrize("long", [False, True])
def test_what_happens_lies_within_its_medium_and_one_after_the_other(long):
    for number in range(100):
        sample = make_sample(held_out_seed(number), long=long)
        for scene in sample.scenes:
            if isinstance(scene, Audio | Video):
                assert scene.seconds <= 90  # what the model can hear, see build.AUDIO_SECONDS
            for track in (scene, getattr(scene, "sound", None)):
                events = getattr(track, "events", getattr(track, "appearances", ()))
                time = 0.0
                for event in events:
                    assert time <= event.start < event.end <= track.seconds
                    time = event.end


def test_parts_questions_and_categories_can_be_chosen():
    order = ("video", "text", "text", "image")
    wanted = ("text-price", "image-digit")
    drawn = [make_sample(n, questions=2, order=order, categories=wanted) for n in range(20)]
    assert {sample.order for sample in drawn} == {order}
    assert {each.category for sample in drawn for each in sample.statements} == set(wanted)
    assert {len(sample.statements) for sample in drawn} == {2}
    assert len(make_sample(3, questions=9, order=MODALITIES).statements) == 9
    # There is nothing left to ask at some point: no question is asked twice.
    everything = make_sample(3, questions=500, order=MODALITIES)
    assert 9 < len(everything.statements) < 200
    assert len(make_sample(3, questions=1, order=("image",)).statements) == 1


def test_what_a_request_shows_does_not_depend_on_what_is_asked():
    for number in range(30):
        sample = make_sample(number, questions=1, order=MODALITIES, long=False)
        other = make_sample(number, questions=5, order=MODALITIES, long=False)
        assert sample.scenes == other.scenes
        assert references(sample.scenes) == references(other.scenes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"questions": 0}, "0 questions"),
        ({"order": ()}, "one or more of"),
        ({"order": ("smell",)}, "smell"),
        ({"order": ("text",), "categories": ("audio-tone",)}, "no question of"),
        ({"order": ("text",), "categories": ()}, "no question of"),
    ],
)
def test_requests_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        make_sample(0, **arguments)


def test_every_word_is_in_the_list_of_words():
    known = set(world_words())
    for sample in drawn():
        texts = [sample.answer, *(p.get("text", "") for p in sample.messages[0]["content"])]
        letters = "".join(c if c.isalpha() else " " for c in " ".join(texts))
        assert set(letters.split()) <= known
