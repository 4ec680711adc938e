"""Samples as files: the same for the same seed, and labels that hold in the decoded media."""

import json

import numpy as np
import pytest

from omnitrace.evaluation.labels.io import read_labels
from omnitrace.evaluation.labels.matching import named_units
from omnitrace.evaluation.labels.schema import ImageSource, TextSource
from omnitrace.evaluation.labels.validate import check_label
from omnitrace.media import load_audio, load_image, load_video
from omnitrace.reference.files import labels, request, write_sample
from omnitrace.reference.render import item_mask, render_audio, render_image, video_frames, where
from omnitrace.reference.scenes import Audio, Image, Video
from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer
from omnitrace.reference.words import COLOURS, TONES
from omnitrace.reference.world import MODALITIES, held_out_seed, make_sample, media_name
from omnitrace.sources.request_files import read_requests
from omnitrace.tracer import Tracer

ORDERS = [MODALITIES, ("video", "image", "text", "audio", "video"), ("audio", "image", "audio")]
WITHIN = 0.02  # seconds by which anything may be off in a decoded file


def drawn(number, **arguments):
    arguments = {"questions": 12, "order": ORDERS[number % len(ORDERS)]} | arguments
    return make_sample(held_out_seed(number), **arguments)


SAMPLES = [drawn(number, long=number == 4) for number in range(9)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folders = []
    for sample in SAMPLES:
        folder = tmp_path_factory.mktemp("sample")
        assert write_sample(sample, folder) == folder / "request.json"
        folders.append(folder)
    return folders


def media(folders, kind):
    """Yield all media of a kind: what was drawn, and its file."""
    for sample, folder in zip(SAMPLES, folders, strict=True):
        for part, scene in enumerate(sample.scenes):
            if isinstance(scene, kind):
                yield scene, folder / media_name(part, scene)


def evidence(folders, *categories):
    """Yield labelled value words: the value, its scene, its file and its source."""
    for sample, folder in zip(SAMPLES, folders, strict=True):
        (label,) = read_labels(folder / "labels.jsonl")
        for span in label.spans:
            if span.category in categories:
                (word,), (source, *_) = span.words, span.sources
                scene = sample.scenes[source.part]
                content = request(sample)["messages"][0]["content"][source.part]
                name = content.get(content["type"], "")
                yield word.text, scene, folder / name, source


def test_the_same_seed_gives_the_same_bytes(folders, tmp_path):
    for number in (0, 1, 3):
        again = tmp_path / str(number)
        write_sample(SAMPLES[number], again)
        names = sorted(path.name for path in again.iterdir())
        assert names == sorted(path.name for path in folders[number].iterdir())
        for name in names:
            assert (again / name).read_bytes() == (folders[number] / name).read_bytes(), name


def test_only_the_parts_of_the_request_are_written(tmp_path):
    write_sample(drawn(1, order=("audio", "text", "audio")), tmp_path / "new" / "folder")
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"audio-0.wav", "audio-2.wav", "labels.jsonl", "request.json"}


def test_the_request_is_one_that_the_command_line_reads(folders):
    for sample, folder in zip(SAMPLES, folders, strict=True):
        (found,) = read_requests(folder / "request.json")
        assert found.id == sample.id
        assert found.messages == sample.messages == request(sample)["messages"]
        assert json.loads((folder / "request.json").read_text()) == request(sample)


def test_labels_say_what_the_sample_does(folders):
    for sample, folder in zip(SAMPLES, folders, strict=True):
        (found,) = read_labels(folder / "labels.jsonl")
        assert found == labels(sample)
        assert (found.id, found.response) == (sample.id, sample.answer)
        for span, statement in zip(found.spans, sample.statements, strict=True):
            assert (span.text, span.sources) == (statement.text, statement.sources)
            said = [(word.text, word.start, word.end, word.sources) for word in span.words]
            assert said == [(v.text, v.start, v.end, v.sources) for v in statement.values]
            assert span.words[-1].sources == statement.sources
            assert span.category == statement.category


@pytest.fixture(scope="module")
def babbler():
    """A tracer of the reference model's architecture and processor, with random weights."""
    tokenizer = build_tokenizer()
    return Tracer(build_model(tokenizer), build_processor(tokenizer))


def test_labels_fit_the_request_as_a_model_takes_it(babbler, tmp_path):
    kinds = set()
    for number, order in enumerate([("text", "image"), ("audio",), ("video",), ("video",)]):
        sample = drawn(number, order=order, long=False)
        kinds |= {type(scene).__name__ for scene in sample.scenes}
        kinds |= {"track" for scene in sample.scenes if getattr(scene, "sound", None)}
        (found,) = read_requests(write_sample(sample, tmp_path / str(number)))
        trace = babbler.replay(found.messages, "The", media_root=found.media_root)
        assert check_label(labels(sample), trace) == []
        for statement in sample.statements:
            for source in statement.sources:
                assert named_units(source, trace.units), source
    assert kinds == {"Note", "Image", "Audio", "Video", "track"}


def test_pictures_are_the_rendered_ones(folders):
    for image, path in media(folders, Image):
        assert (np.asarray(load_image(path).pixels) == render_image(image)).all()


def test_audio_is_the_rendered_one(folders):
    for audio, path in media(folders, Audio):
        loaded = load_audio(path)
        assert loaded.duration == pytest.approx(audio.seconds, abs=1e-6)
        np.testing.assert_array_equal(loaded.samples * 32768, render_audio(audio))


def test_videos_show_and_sound_at_the_times_at_which_they_were_rendered(folders):
    sounding = 0
    for video, path in media(folders, Video):
        loaded = load_video(path)  # two frames a second, as models are fed
        assert loaded.duration == video.seconds
        np.testing.assert_array_equal(loaded.times, np.arange(2 * video.seconds) / 2)
        # Compression takes noise away, and no frame looks more like its neighbour.
        expected = video_frames(video, loaded.times).astype(float)
        assert np.abs(loaded.frames - expected).mean() < 6
        assert (video.sound is None) == (loaded.audio is None)
        if video.sound is not None:
            sounding += 1
            samples = render_audio(video.sound)
            np.testing.assert_array_equal(loaded.audio.samples * 32768, samples)
    assert sounding > 1


def test_shapes_appear_and_leave_on_time(folders):
    count = 0
    for video, path in media(folders, Video):
        loaded = load_video(path, fps=8.0)
        for seen in video.appearances:
            for time, frame in zip(loaded.times, loaded.frames, strict=True):
                x, y = (sum(where(seen, time)[i::2]) // 2 for i in (0, 1))
                if not (0 <= x < video.width and 0 <= y < video.height):
                    continue
                middle = frame[y, x].astype(float)
                there = nearest(middle) == seen.colour and np.ptp(middle) > 60
                if seen.start + WITHIN < time < seen.end - WITHIN:
                    assert there
                    count += 1
                elif not any(e.start <= time < e.end for e in video.appearances):
                    assert not there
    assert count > 100


def nearest(colour):
    return min(COLOURS, key=lambda name: float(np.abs(np.subtract(COLOURS[name], colour)).sum()))


def test_text_labels_quote_the_fact(folders):
    for value, note, _, source in evidence(folders, "text-weight", "text-price"):
        assert isinstance(source, TextSource)
        quote = note.text[source.start : source.end]
        assert quote.startswith("The ")
        assert quote.endswith((f" weighs {value} grams.", f" costs {value} coins."))


def test_labelled_boxes_are_the_hull_of_their_items(folders):
    count = 0
    for value, image, path, source in evidence(folders, "image-colour"):
        assert isinstance(source, ImageSource)
        x0, y0, x1, y1 = (int(edge) for edge in source.box)
        (item,) = [each for each in image.items if each.box == source.box]
        inside = np.asarray(load_image(path).pixels, dtype=float)[y0:y1, x0:x1]
        covered = item_mask(item) > 0.9
        assert nearest(inside[covered].mean(axis=0)) == value
        assert covered[:2].any()
        assert covered[-2:].any()
        assert item.kind == "digit" or (covered[:, :2].any() and covered[:, -2:].any())
        count += 1
    assert count > 3


def test_labelled_seconds_of_audio_sound_right(folders):
    count = 0
    for value, _, path, source in evidence(folders, "audio-tone"):
        loaded = load_audio(path)
        cut = loaded.samples[round(source.start * 16_000) : round(source.end * 16_000)]
        loudest = float(np.argmax(np.abs(np.fft.rfft(cut)))) * 16_000 / len(cut)
        assert min(TONES, key=lambda name: abs(np.log(TONES[name] / loudest))) == value
        count += 1
    assert count > 3


def test_labelled_digits_are_all_that_is_loud_there(folders):
    count = 0
    digits = ("audio-digit", "audio-after", "video-digit")
    for _, scene, path, source in evidence(folders, *digits):
        if isinstance(scene, Video):
            track, samples = scene.sound, load_video(path).audio.samples
        else:
            track, samples = scene, load_audio(path).samples
        loud = np.flatnonzero(np.abs(samples) > 0.03) / 16_000
        near = loud[(loud > source.start - 0.09) & (loud < source.end + 0.09)]
        assert near.min() > source.start - WITHIN
        assert near.min() == pytest.approx(source.start, abs=0.1)  # and swells
        assert near.max() == pytest.approx(source.end, abs=0.1)  # a word fades
        assert near.max() < source.end + WITHIN
        assert sum(abs(e.start - source.start) < WITHIN for e in track.events) == 1
        count += 1
    assert count > 3


def test_labelled_seconds_of_videos_show_the_colour(folders):
    count = 0
    for value, video, path, source in evidence(
        folders, "video-second", "video-object", "video-turn"
    ):
        loaded = load_video(path, fps=8.0)
        during = (loaded.times > source.start + WITHIN) & (loaded.times < source.end - WITHIN)
        (seen,) = [
            each
            for each in video.appearances
            if each.start < source.end - WITHIN and each.end > source.start + WITHIN
        ]
        for time, frame in zip(loaded.times[during], loaded.frames[during], strict=True):
            x, y = (sum(where(seen, time)[i::2]) // 2 for i in (0, 1))
            assert nearest(frame[y, x].astype(float)) == value
            count += 1
    assert count > 30
