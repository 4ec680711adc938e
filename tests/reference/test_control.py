"""The control: the evidence is gone, and nothing else is."""

import functools

import numpy as np

from omnitrace.reference.control import without_evidence
from omnitrace.reference.render import render_audio, render_image, video_frames
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.world import CATEGORIES, held_out_seed, make_sample
from tests.helpers.reference_questions import read
from tests.helpers.reference_samples import held_out


def drawn():
    return held_out(300, long=False)


@functools.cache
def pairs():
    return [(sample, without_evidence(sample)) for sample in drawn()]


def parts(kind):
    """Yield each part of a kind, what is left of it, and the sources that are in it."""
    for sample, bare in pairs():
        for number, (scene, left) in enumerate(zip(sample.scenes, bare.scenes, strict=True)):
            if isinstance(scene, kind):
                evidence = {source for s in sample.statements for source in s.sources}
                yield scene, left, {source for source in evidence if source.part == number}


def inside(source, times):
    return (times >= source.start - 0.006) & (times < source.end + 0.006)


def test_questions_and_right_answers_stay():
    for sample, bare in pairs():
        assert bare.question == sample.question
        assert bare.answer == sample.answer
        assert bare.order == sample.order
        assert bare.id == sample.id
        assert not any(statement.sources for statement in bare.statements)
        assert not any(value.sources for each in bare.statements for value in each.values)
        for ours, theirs in zip(bare.statements, sample.statements, strict=True):
            assert (ours.text, ours.value, ours.category) == (
                theirs.text,
                theirs.value,
                theirs.category,
            )


def test_nothing_that_was_asked_for_can_be_read_any_more():
    gone = set()
    for sample, bare in pairs():
        for statement in sample.statements:
            if statement.category in ("two-sum", "two-agree", "refusal"):
                continue
            asked = statement.question[0].lower() + statement.question[1:-1]
            value = read(bare.scenes, asked)
            if statement.category == "audio-after" and value is not None:
                continue  # another number comes after the sound now
            assert value is None, statement
            gone.add(statement.category)
    assert gone == set(CATEGORIES) - {"two-sum", "two-agree", "refusal"}


def test_facts_leave_their_notes():
    cut = 0
    for note, left, evidence in parts(Note):
        taken = {(source.start, source.end) for source in evidence}
        kept = [fact for fact in note.facts if (fact.start, fact.end) not in taken]
        assert [(f.name, f.attribute, f.value) for f in left.facts] == [
            (f.name, f.attribute, f.value) for f in kept
        ]
        for before, after in zip(kept, left.facts, strict=True):
            sentence = note.text[before.start : before.end]
            assert left.text[after.start : after.end] == sentence
        removed = [note.text[start:end] for start, end in taken]
        assert not any(sentence in left.text for sentence in removed)
        assert len(left.text) == len(note.text) - sum(len(s) + 1 for s in removed)
        assert "  " not in left.text
        assert left == note or taken
        cut += len(taken)
    assert cut > 100


def test_a_note_that_loses_everything_still_says_something():
    sample = make_sample(held_out_seed(3), questions=200, order=("text",))
    for statement in sample.statements:
        assert not [s for s in statement.sources if s.part != 0]
    note = without_evidence(sample).scenes[0]
    assert not note.facts
    assert note.text


def test_items_leave_their_images():
    for image, left, evidence in parts(Image):
        boxes = {source.box for source in evidence}
        assert [item for item in image.items if item.box not in boxes] == list(left.items)
        changed = np.abs(render_image(image).astype(int) - render_image(left)).max(axis=-1) > 0
        for x0, y0, x1, y1 in boxes:
            assert changed[int(y0) : int(y1), int(x0) : int(x1)].any()
            changed[int(y0) : int(y1), int(x0) : int(x1)] = False
        assert not changed.any()


def test_events_leave_audio_and_tracks():
    audios = list(parts(Audio))
    for video, left, evidence in parts(Video):
        if video.sound is not None:
            heard = {source for source in evidence if source.stream == "audio"}
            audios.append((video.sound, left.sound, heard))
    silenced = 0
    for audio, left, evidence in audios:
        before, after = render_audio(audio), render_audio(left)
        assert len(before) == len(after)
        times = np.arange(len(before)) / 16_000
        changed = before != after
        for source in evidence:
            assert changed[inside(source, times)].any()
            # What is left there is the noise alone.
            assert np.abs(after[inside(source, times)]).max() < 0.03 * 32768
            changed[inside(source, times)] = False
        assert not changed.any()
        silenced += len(evidence)
        assert len(left.events) == len(audio.events) - len(evidence)
    assert silenced > 50


def test_what_is_seen_leaves_its_video_whole():
    """Before and after a second the same thing has the same colour, and would still tell it."""
    gone = 0
    for video, left, evidence in parts(Video):
        shown = [source for source in evidence if source.stream != "audio"]
        for seen in video.appearances:
            middle = [(seen.start + seen.end) / 2, seen.start + 0.1, seen.end - 0.1]
            middle += [(source.start + source.end) / 2 for source in shown]
            asked = any(
                seen.start <= time < seen.end and source.start <= time < source.end
                for source in shown
                for time in middle
            )
            assert (seen in left.appearances) != asked
            gone += asked
        assert set(left.appearances) <= set(video.appearances)
    assert gone > 100


def test_the_rest_of_a_video_looks_as_it_did():
    for video, left, _ in list(parts(Video))[:40]:
        times = np.arange(round(video.seconds * 4)) / 4
        one, other = video_frames(video, times), video_frames(left, times)
        taken = [seen for seen in video.appearances if seen not in left.appearances]
        for time, before, after in zip(times, one, other, strict=True):
            changed = any(seen.start <= time < seen.end for seen in taken)
            assert (before != after).any() == changed
