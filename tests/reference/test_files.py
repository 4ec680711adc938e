"""Samples as files: same bytes for the same seed, and labels that hold in the decoded media."""

import json

import numpy as np
import pytest
import soundfile
from decord import VideoReader
from PIL import Image

from omnitrace.reference.files import write_sample
from omnitrace.reference.words import COLOURS, TONES
from omnitrace.reference.world import MODALITIES, held_out_seed, make_sample

SEEDS = [held_out_seed(n) for n in range(4)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = []
    for seed in SEEDS:
        folder = tmp_path_factory.mktemp("sample")
        path = write_sample(make_sample(seed, questions=14, order=MODALITIES), folder)
        assert path == folder / "request.json"
        made.append(folder)
    return made


def labelled(folder, category):
    request = json.loads((folder / "request.json").read_text())
    labels = json.loads((folder / "labels.json").read_text())
    assert request["id"] == labels["id"]
    for statement in labels["statements"]:
        value = statement["value"]
        assert labels["answer"][value["start"] : value["end"]] == value["text"]
        assert labels["answer"][statement["start"] : statement["end"]] == statement["text"]
        if statement["category"] == category:
            (evidence,) = statement["evidence"]
            content = request["messages"][evidence["message"]]["content"]
            yield value["text"], content[evidence["part"]], evidence


def nearest(colour):
    return min(COLOURS, key=lambda name: float(np.abs(np.subtract(COLOURS[name], colour)).sum()))


def test_the_same_seed_gives_the_same_bytes(folders, tmp_path):
    write_sample(make_sample(SEEDS[0], questions=14, order=MODALITIES), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audio.wav", "image.png", "labels.json", "request.json", "video.mp4"]
    # The encoder's bytes can differ from run to run.
    for name in set(names) - {"video.mp4"}:
        assert (tmp_path / name).read_bytes() == (folders[0] / name).read_bytes(), name


def test_only_the_parts_of_the_request_are_written(tmp_path):
    write_sample(make_sample(1, order=("audio",)), tmp_path / "new" / "folder")
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"audio.wav", "labels.json", "request.json"}


def test_text_labels_quote_the_fact(folders):
    for folder in folders:
        for value, part, evidence in labelled(folder, "text"):
            quote = part["text"][evidence["start"] : evidence["end"]]
            assert quote.startswith("The ")
            assert quote.endswith(f" weighs {value} grams.")


def test_labelled_boxes_hold_the_colour(folders):
    for folder in folders:
        for value, part, evidence in labelled(folder, "image-colour"):
            pixels = np.asarray(Image.open(folder / part["image"]), dtype=float)
            x0, y0, x1, y1 = evidence["box"]
            inside = pixels[y0:y1, x0:x1]
            coloured = np.ptp(inside, axis=-1) > 50
            # The hull is tight: colour on each of its four sides.
            assert coloured[0].any()
            assert coloured[-1].any()
            assert coloured[:, 0].any()
            assert coloured[:, -1].any()
            assert nearest(inside[coloured].mean(axis=0)) == value


def test_labelled_seconds_sound_right(folders):
    for folder in folders:
        for value, part, evidence in labelled(folder, "audio"):
            wave, rate = soundfile.read(folder / part["audio"])
            assert rate == 16_000
            start, end = evidence["start_seconds"], evidence["end_seconds"]
            cut = wave[int(start * rate) : int(end * rate)]
            loudest = float(np.argmax(np.abs(np.fft.rfft(cut)))) * rate / len(cut)
            assert min(TONES, key=lambda name: abs(np.log(TONES[name] / loudest))) == value


def test_labelled_seconds_of_the_decoded_film_have_the_colour(folders):
    for folder in folders:
        for value, part, evidence in labelled(folder, "video"):
            reader = VideoReader(str(folder / part["video"]), num_threads=1)
            rate = reader.get_avg_fps()
            assert rate == pytest.approx(8.0)
            start, end = evidence["start_seconds"], evidence["end_seconds"]
            frames = reader.get_batch(range(int(start * rate), int(end * rate))).asnumpy()
            for frame in frames:
                assert nearest(frame.mean(axis=(0, 1))) == value
