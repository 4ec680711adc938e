"""The baseline of an embedder: models of real classes, and what they are asked about."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from transformers import AutoTokenizer, BertModel, CLIPModel, CLIPProcessor, T5Config, T5Model

from omnitrace import InputError, Trace
from omnitrace.errors import ModelError, NotSupportedError
from omnitrace.evaluation.baselines.embedders import load_embedder
from omnitrace.evaluation.baselines.similarity import UnitEmbeddings
from omnitrace.evaluation.evaluation import evaluate
from omnitrace.evaluation.options import EvaluationOptions, ModelAccess
from omnitrace.evaluation.report.export import notes_of, table_of, to_document
from omnitrace.types import ImageRegion, TextRange
from tests.helpers.embedding_models import POSITIONS, clip, sentence_encoder
from tests.helpers.media_files import write_video
from tests.helpers.sample_labels import label
from tests.helpers.sample_traces import LOG, harbour, multimodal_trace, text_trace

TEXTS = ["the ferry alma leaves", "a storm warning is in force until midnight.", "red"]


@pytest.fixture(scope="module", params=["bert", "mpnet"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_encoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_encoder(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """The trace made by hand, with media that can be read."""
    folder = tmp_path_factory.mktemp("media")
    png, wav = io.BytesIO(), io.BytesIO()
    harbour(0.3).save(png, format="PNG")
    soundfile.write(wav, np.zeros(16_000), 16_000, format="WAV")
    video = write_video(folder / "boat.mp4", [k / 30 for k in range(240)])
    found = multimodal_trace()
    data = (png.getvalue(), wav.getvalue(), video.read_bytes())
    records = [
        dataclasses.replace(record, read=lambda each=each: each)
        for record, each in zip(found.media, data, strict=True)
    ]
    return dataclasses.replace(found, media=tuple(records))


def test_a_sentence_is_the_mean_of_its_tokens_whatever_its_neighbours(bert: Path) -> None:
    found = load_embedder(str(bert)).texts(TEXTS)
    model, tokenizer = BertModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    for text, row in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        np.testing.assert_allclose(row, states.mean(dim=0).numpy(), atol=1e-5)


def test_long_texts_are_cut_off(encoder: Path) -> None:
    embedder = load_embedder(str(encoder))
    assert not embedder.sees
    long = "ferry " * 5 * POSITIONS
    found = embedder.texts([long, f"{long} midnight", "ferry"])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert np.abs(found[0] - found[2]).max() > 1e-4
    with pytest.raises(NotSupportedError, match="embeds no pictures"):
        embedder.images([harbour(0.3)])


def test_the_unit_of_the_same_words_is_most_similar(bert: Path) -> None:
    sentences = ["The ferry Alma leaves at 18:40.", "A storm warning is in force."]
    made = text_trace(sentences, "What is in force?", sentences[1])
    embedder = load_embedder(str(bert))
    (found,), left_out = UnitEmbeddings(embedder).similarities(made, [(0, len(made.tokens))])
    assert not left_out
    same = [sentences[1] in unit.preview for unit in made.units].index(True)
    assert found.scores[same] == pytest.approx(1.0)
    assert found.chosen == {made.units[same].id}
    a, b = embedder.texts(sentences)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert found.scores[1 - same] == pytest.approx(cosine, abs=1e-6)


def test_clip_sees_regions_and_frames(clip_folder: Path, trace: Trace) -> None:
    embedder = load_embedder(str(clip_folder))
    assert embedder.sees
    (found,), left_out = UnitEmbeddings(embedder).similarities(trace, [(0, 5)])
    assert left_out == {"audio": 6}
    model, processor = (
        CLIPModel.from_pretrained(clip_folder).eval(),
        CLIPProcessor.from_pretrained(clip_folder),
    )
    said = trace.text[trace.tokens[0].start : trace.tokens[4].end]

    def unit_length(features: Any) -> torch.Tensor:
        rows = features.pooler_output
        return rows / rows.norm(dim=-1, keepdim=True)

    def looked_at(pictures: Sequence[Image.Image]) -> torch.Tensor:
        pixels = processor(images=list(pictures), return_tensors="pt")
        rows = unit_length(model.get_image_features(**pixels)).mean(dim=0)
        return rows / rows.norm()

    with torch.no_grad():
        of_span, of_text = (
            unit_length(model.get_text_features(**processor(text=[text], return_tensors="pt")))[0]
            for text in (said, "A storm warning is in force until midnight.")
        )
        units = {unit.id: i for i, unit in enumerate(trace.units)}
        assert trace.units[units["text-4"]].preview == "A storm warning is in force until midnight."
        expected = {"text-4": of_text}
        region = trace.units[units["image-6"]].locator
        assert isinstance(region, ImageRegion)
        box = tuple(int(value) for value in region.box)
        expected["image-6"] = looked_at([harbour(0.3).crop(box)])  # type: ignore[arg-type]
        conversation = [part for part in trace.request()[0]["content"] if part["type"] == "video"]
        frames = _frames(conversation[0]["video"], (60, 90))
        expected["video-2"] = looked_at(frames)
    for name, row in expected.items():
        assert found.scores[units[name]] == pytest.approx(float(row @ of_span), abs=1e-4), name
    scored = [unit.modality != "audio" for unit in trace.units]
    lowest = min(0.0, found.scores[scored].min())
    assert all(found.scores[units[f"audio-{k}"]] == lowest for k in range(1, 7))


def _frames(data: bytes, numbers: Sequence[int]) -> list[Image.Image]:
    import av

    with av.open(io.BytesIO(data)) as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [Image.fromarray(every[number]) for number in numbers]


class Bags:
    """Embeds a text as its letters, a picture as its mean colour; it counts what it is given."""

    name = "bags"

    def __init__(self, sees: bool = False, sign: float = 1.0) -> None:
        self.sees = sees
        self.sign = sign
        self.asked: list[str] = []
        self.looked = 0

    def texts(self, texts: Sequence[str], /) -> np.ndarray:
        self.asked += texts
        return np.array([[text.lower().count(each) for each in "abcdefgh"] for text in texts])

    def images(self, images: Sequence[Image.Image], /) -> np.ndarray:
        self.looked += len(images)
        colours = np.array([np.asarray(image).mean(axis=(0, 1)) for image in images])
        return self.sign * np.pad(colours, ((0, 0), (0, 5)))


def test_nothing_is_embedded_twice(trace: Trace) -> None:
    bags = Bags(sees=True)
    similar = UnitEmbeddings(bags)
    first, _ = similar.similarities(trace, [(0, 5), (5, 9)])
    again, _ = similar.similarities(trace, [(0, 5), (5, 9)])
    assert len(bags.asked) == len(set(bags.asked)) == 5 + 2
    assert bags.looked == 12 + 2 * 4
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


def test_what_has_no_score_stands_last(trace: Trace) -> None:
    (found,), left_out = UnitEmbeddings(Bags()).similarities(trace, [(0, 5)])
    texts = [isinstance(unit.locator, TextRange) for unit in trace.units]
    assert left_out == {"image": 12, "audio": 6, "video": 4}
    assert (found.scores[texts] > 0).all()
    assert (found.scores[~np.array(texts)] == 0).all()
    # Also where the pictures are opposite to the words.
    (found,), _ = UnitEmbeddings(Bags(sees=True, sign=-1.0)).similarities(trace, [(0, 5)])
    assert found.scores.min() < 0
    audio = [unit.modality == "audio" for unit in trace.units]
    assert (found.scores[audio] == found.scores.min()).all()


def test_a_region_of_a_pixel_is_looked_at(clip_folder: Path, trace: Trace) -> None:
    tiny = [
        dataclasses.replace(unit, locator=dataclasses.replace(unit.locator, box=box))
        if unit.id == name
        else unit
        for unit in trace.units
        for name, box in [("image-1", (1199.2, 899.5, 1200.0, 900.0))]
    ]
    layout = dataclasses.replace(trace.layout, units=tuple(tiny))
    made = dataclasses.replace(trace, layout=layout)
    (found,), _ = UnitEmbeddings(load_embedder(str(clip_folder))).similarities(made, [(0, 5)])
    assert np.isfinite(found.scores).all()


def test_evaluate_scores_the_embedder(trace: Trace) -> None:
    found = evaluate(
        {"harbour": trace},
        [label()],
        options=EvaluationOptions(draws=10),
        models=ModelAccess(embedder=Bags()),
    )
    assert found.figure("auprc", "embedder").count == found.figure("auprc").count
    assert found.figure("auprc", "embedder", level="word").count == 1
    assert found.embedder == to_document(found)["embedder"] == "bags"
    assert any(row[0] == "embedder" for row in table_of(found))
    (note,) = [line for line in notes_of(found) if line.startswith("embedder")]
    assert note == (
        "embedder: bags; units that it cannot embed, and that have no score: 12 of image, "
        "6 of audio, 4 of video"
    )
    without = evaluate({"harbour": trace}, [label()], options=EvaluationOptions(draws=10))
    assert not any(line.startswith("embedder") for line in notes_of(without))


def test_traces_that_cannot_be_embedded(trace: Trace) -> None:
    with pytest.raises(InputError, match="is redacted"):
        UnitEmbeddings(Bags()).similarities(trace.redact(), [(0, 5)])
    blind = dataclasses.replace(
        trace, media=tuple(dataclasses.replace(record, read=None) for record in trace.media)
    )
    UnitEmbeddings(Bags()).similarities(blind, [(0, 5)])
    with pytest.raises(InputError, match=r"is not in the trace.*--media"):
        UnitEmbeddings(Bags(sees=True)).similarities(blind, [(0, 5)])


def test_a_broken_embedder_is_named(trace: Trace) -> None:
    class Broken(Bags):
        def texts(self, texts: Sequence[str], /) -> np.ndarray:
            return np.full((len(texts), 3), np.nan)

    with pytest.raises(InputError, match=r"the embedder 'bags' gives embeddings of shape \(5, 3\)"):
        UnitEmbeddings(Broken()).similarities(trace, [(0, 5)])


def _nowhere(folder: Path) -> str:
    return str(folder / "nowhere")


def _pickled(folder: Path) -> str:
    sentence_encoder(folder, "bert")
    torch.save(BertModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return str(folder)


def _empty(folder: Path) -> str:
    return str(folder)


def _hub_id(folder: Path) -> str:
    return "nobody/no-such-embedder"


@pytest.mark.parametrize("broken", [_nowhere, _pickled, _empty, _hub_id])
def test_embedders_that_cannot_be_loaded(
    broken: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    name = broken(tmp_path)
    with pytest.raises(ModelError, match="embedder") as error:
        load_embedder(name)
    assert repr(name) in error.value.found
    assert "safetensors" in error.value.legal


def test_an_encoder_with_a_decoder_is_refused(bert: Path, tmp_path: Path) -> None:
    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    with pytest.raises(NotSupportedError, match="has an encoder and a decoder"):
        load_embedder(str(tmp_path))


def test_texts_are_taken_from_the_request(trace: Trace) -> None:
    bags = Bags()
    UnitEmbeddings(bags).similarities(trace, [(0, 5)])
    quoted = [
        LOG[unit.locator.start : unit.locator.end]
        for unit in trace.units
        if isinstance(unit.locator, TextRange)
    ]
    assert bags.asked[: len(quoted)] == quoted
