"""The aligned world: evidence lies within whole units, and all else is as in the natural one."""

import collections
import functools
import math

import pytest

from omnitrace.evaluation.labels.matching import named_units
from omnitrace.evaluation.labels.visibility import shown_units
from omnitrace.reference.aligned import CELL
from omnitrace.reference.files import labels
from omnitrace.reference.questions import references
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.training.accuracy import CHANCE
from omnitrace.reference.words import COLOURS, NUMBERS
from omnitrace.reference.world import CATEGORIES, make_sample, training_seed
from omnitrace.types import ImageRegion, SourceUnit, TimeRange
from tests.helpers.reference_questions import read
from tests.helpers.reference_samples import held_out


def drawn():
    return held_out(300, aligned=True)


def scenes(kind, samples=None):
    return [
        scene for sample in samples or drawn() for scene in sample.scenes if isinstance(scene, kind)
    ]


def tracks():
    return [*scenes(Audio), *(video.sound for video in scenes(Video) if video.sound)]


def test_every_item_lies_inside_one_cell_of_its_quarter():
    for image in scenes(Image):
        assert image.width % CELL == image.height % CELL == 0
        for item in image.items:
            x0, y0, x1, y1 = item.box
            assert x0 // CELL == (x1 - 1) // CELL
            assert y0 // CELL == (y1 - 1) // CELL
            half = (image.width / 2, image.height / 2)
            assert (x1 <= half[0]) if "left" in item.place else (x0 >= half[0])
            assert (y1 <= half[1]) if "top" in item.place else (y0 >= half[1])


@pytest.mark.parametrize("long", [False, True])
def test_every_sound_lies_inside_a_second_of_its_own(long):
    samples = [make_sample(n, order=("audio", "video"), long=long, aligned=True) for n in range(60)]
    found = scenes(Audio, samples)
    found += [video.sound for video in scenes(Video, samples) if video.sound]
    for audio in found:
        seconds = [int(event.start) for event in audio.events]
        assert seconds == [int(event.end) for event in audio.events]
        assert len(set(seconds)) == len(seconds)
        assert all(0 <= event.start < event.end <= audio.seconds for event in audio.events)
        assert audio.seconds <= 90
    assert any(audio.seconds > 30 for audio in found) == long


def test_every_appearance_fills_whole_seconds_and_in_many_videos_one_each():
    videos = scenes(Video)
    for video in videos:
        end = 0.0
        for seen in video.appearances:
            assert seen.start == int(seen.start) >= end
            assert seen.end == int(seen.end)
            assert 1 <= seen.end - seen.start <= 3
            end = seen.end
        assert end <= video.seconds
    changing = [v for v in videos if all(s.end - s.start == 1 for s in v.appearances)]
    assert 0.5 < len(changing) / len(videos) < 0.8


def test_the_colour_of_a_second_is_asked_for_only_where_its_neighbours_differ():
    count = 0
    for sample in drawn():
        for each in references(sample.scenes, aligned=True):
            if each.category == "video-second" and each.value is not None:
                video = sample.scenes[each.part]
                second = NUMBERS.index(each.asked.split()[-1]) - 1
                beside = {
                    seen.colour
                    for seen in video.appearances
                    for other in (second - 1, second + 1)
                    if seen.start <= other < seen.end
                }
                assert each.value not in beside
                count += 1
    assert count > 100


def test_questions_have_the_answers_that_their_words_ask_for():
    for sample in drawn()[:100]:
        for each in references(sample.scenes, aligned=True):
            assert read(sample.scenes, each.asked) == each.value, each.asked


def test_everything_is_asked_and_a_number_after_a_tone_often():
    asked = collections.Counter(s.category for sample in drawn() for s in sample.statements)
    assert set(asked) == set(CATEGORIES)
    assert min(asked.values()) > 15


def test_notes_and_ids_tell_the_worlds_apart_and_seeds_of_kept_media_never_meet():
    for number in range(40):
        natural, aligned = (make_sample(number, aligned=each) for each in (False, True))
        assert natural.order == aligned.order
        assert natural.id != aligned.id
        assert labels(aligned).id == aligned.id == f"reference-aligned-{number}"
        kept = make_sample(training_seed(1, number), pool=100, aligned=True)
        assert all(100 <= each.seed < 200 for each in kept.scenes if not isinstance(each, Note))
        assert make_sample(number, aligned=True) == aligned


def units_of(sample):
    """Cut the media of a sample into cells and seconds."""
    units = []
    for part, scene in enumerate(sample.scenes):
        if isinstance(scene, Image):
            columns, rows = scene.width // CELL, scene.height // CELL
            for cell in range(columns * rows):
                x, y = cell % columns * CELL, cell // columns * CELL
                box = (x, y, x + CELL, y + CELL)
                place = ImageRegion(0, part, box, (rows, columns), (cell,))
                units.append(SourceUnit(f"{part}-{cell}", "image", place, ()))
        elif not isinstance(scene, Note):
            streams = ["audio"] if isinstance(scene, Audio) else ["video"]
            streams += ["audio"] if isinstance(scene, Video) and scene.sound else []
            for stream in streams:
                for second in range(math.ceil(scene.seconds)):
                    place = TimeRange(0, part, float(second), second + 1.0)
                    units.append(SourceUnit(f"{part}-{stream}-{second}", stream, place, ()))
    return units


def test_exactly_the_true_units_show_the_evidence():
    kinds = collections.Counter()
    for sample in drawn():
        units = units_of(sample)
        for statement in sample.statements:
            for source in statement.sources:
                if source.type != "text":
                    shown = shown_units(source, units)
                    if statement.category == "video-second":  # all of its appearance shows it
                        assert named_units(source, units) <= shown
                    else:
                        assert named_units(source, units) == shown
                    kinds[source.type] += 1
    assert min(kinds.values()) > 100


@functools.cache
def trained(number):
    """Draw a training sample once for all categories: some need thousands."""
    return make_sample(training_seed(200, number), aligned=True)


@pytest.mark.parametrize("category", [each for each in CHANCE if not each.startswith("two")])
def test_no_value_is_more_frequent_than_chance(category):
    counts = collections.Counter()
    for number in range(4000):
        if counts.total() >= 400:
            break
        counts.update(s.value for s in trained(number).statements if s.category == category)
    total = counts.total()
    chance = 1 / len(COLOURS) if category == "video-turn" else CHANCE[category]
    assert total >= 300
    error = math.sqrt(chance * (1 - chance) / total)
    assert max(counts.values()) / total < chance + 4 * error
