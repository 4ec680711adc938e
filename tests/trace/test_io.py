"""Traces survive the file, whole or not at all, and a file says no more than it may."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.attribution.selection import SelectionConfig
from omnitrace.errors import InputError, TraceFileError
from omnitrace.trace.provenance import Provenance
from omnitrace.trace.trace import Trace
from tests.helpers.random_traces import configs, in_tmp_path, same, traces
from tests.helpers.sample_traces import multimodal_trace, text_trace

FORMS = ("trace", "trace.omnitrace")


# --- round trips --------------------------------------------------------------------------------


@given(trace=traces(), form=st.sampled_from(FORMS), config=configs())
@in_tmp_path
def test_any_trace_round_trips(tmp_path: Path, trace: Trace, form: str, config: SelectionConfig):
    path = trace.save(tmp_path / form)
    loaded = Trace.load(path)
    assert same(trace, loaded, media=False)
    assert all(record.read is None for record in loaded.media)
    assert loaded.to_dict() == trace.to_dict() == json.loads(json.dumps(trace.to_dict()))
    assert loaded.reselect(config).spans == trace.reselect(config).spans


@pytest.mark.parametrize("form", FORMS)
def test_media_are_stored_on_request_only(tmp_path: Path, form: str):
    trace = multimodal_trace()
    with_media = trace.save(tmp_path / "with" / form, media=True)
    assert same(Trace.load(with_media), trace)
    without = Trace.load(trace.save(tmp_path / "without" / form))
    assert [record.read for record in without.media] == [None] * 3
    with pytest.raises(TraceFileError, match=r"original bytes of media 0 \('pier.png'\)"):
        without.save(tmp_path / "again", media=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_request_comes_back_with_its_media(tmp_path: Path, form: str):
    trace = multimodal_trace()
    loaded = Trace.load(trace.save(tmp_path / form, media=True))
    media = {(record.message, record.part): record for record in trace.media}
    for index, message in enumerate(loaded.request()):
        assert message["role"] == trace.messages[index]["role"]
        for place, part in enumerate(message["content"]):
            record = media.pop((index, place), None)
            if record is None:
                assert part == trace.messages[index]["content"][place]
            else:
                assert record.read is not None
                assert part[record.modality] == record.read()
                assert "media" not in part
    assert not media
    without = Trace.load(trace.save(tmp_path / "without" / form))
    with pytest.raises(InputError, match=r"'pier.png' is not in the trace.*save with media=True"):
        without.request()


def test_a_medium_given_as_an_array_is_stored_as_the_file_made_of_it(tmp_path: Path):
    trace = multimodal_trace()
    media = (dataclasses.replace(trace.media[0], sha256="0" * 64), *trace.media[1:])
    trace = dataclasses.replace(trace, media=media)
    assert same(Trace.load(trace.save(tmp_path / "a.omnitrace", media=True)), trace)


@pytest.mark.parametrize("form", FORMS)
def test_reselection_needs_the_file_alone(tmp_path: Path, form: str):
    trace = multimodal_trace()
    loaded = Trace.load(trace.save(tmp_path / form))
    assert loaded.spans == trace.spans == loaded.reselect(trace.config).spans
    assert loaded.tokens == trace.tokens == loaded.reselect(trace.config).tokens
    config = SelectionConfig(gate=False, coverage=0.3, assign="token-max")
    assert loaded.reselect(config).spans == trace.reselect(config).spans != trace.spans
    assert loaded.explain("storm warning") == trace.explain("storm warning")


def test_the_same_trace_gives_the_same_bytes(tmp_path: Path):
    first = multimodal_trace().save(tmp_path / "a.omnitrace", media=True)
    second = Trace.load(first).save(tmp_path / "b.omnitrace", media=True)
    assert first.read_bytes() == second.read_bytes()


def test_the_document_names_every_kind_of_locator():
    document = multimodal_trace().to_dict()
    assert document["format"] == "omnitrace-trace"
    assert document["version"] == 4
    assert {unit["locator"]["type"] for unit in document["units"]} == {
        "text_range",
        "image_region",
        "time_range",
    }
    assert "scores" not in document
    assert "checksums" not in document
    assert document["spans"][0]["supports"][0]["unit"] == "text-2"


# --- privacy ------------------------------------------------------------------------------------


def everything_in(path: Path) -> bytes:
    if path.is_dir():
        return b"".join(file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file())
    with zipfile.ZipFile(path) as archive:
        names = "".join(archive.namelist()).encode()
        return names + b"".join(archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize("form", FORMS)
def test_no_original_bytes_and_no_paths_without_media(tmp_path: Path, form: str):
    trace = multimodal_trace()
    named = [
        dataclasses.replace(record, name=name)
        for record, name in zip(
            trace.media,
            ["/home/ada/secret/pier.png", r"C:\Users\ada\secret\horn.wav", "secret/boat.mp4"],
            strict=True,
        )
    ]
    message = dict(trace.messages[0])
    parts = [dict(part) for part in message["content"]]
    parts[1] |= {"image": "/home/ada/secret/pier.png", "url": "https://secret.example/pier.png"}
    message["content"] = parts
    trace = dataclasses.replace(trace, media=tuple(named), messages=(message,))
    path = trace.save(tmp_path / form)
    content = everything_in(path)
    assert b"original bytes" not in content
    assert b"secret" not in content
    assert b"Users" not in content
    assert [r.name for r in Trace.load(path).media] == ["pier.png", "horn.wav", "boat.mp4"]


@pytest.mark.parametrize("form", FORMS)
def test_stored_media_say_nothing_of_their_camera_unless_asked(tmp_path: Path, form: str):
    trace = multimodal_trace()
    exif, file = PIL.Image.Exif(), io.BytesIO()
    exif[0x013B] = "Ada"
    PIL.Image.new("RGB", (8, 8), "red").save(file, "JPEG", exif=exif)
    first = dataclasses.replace(trace.media[0], read=file.getvalue)
    trace = dataclasses.replace(trace, media=(first, *trace.media[1:]))
    loaded = Trace.load(trace.save(tmp_path / form, media=True))
    assert loaded.media[0].read is not None
    stored = loaded.media[0].read()
    assert (b"Ada" in file.getvalue(), b"Ada" in stored) == (True, False)
    assert loaded.media[0].sha256 == trace.media[0].sha256, "of the original, whatever is stored"
    kept = Trace.load(trace.save(tmp_path / form, media=True, metadata=True)).media[0].read
    assert kept is not None
    assert kept() == file.getvalue()


WORDS = ("lighthouse", "ferry", "18:40", "sail", "horn", "boat", "storm", "pier", "Alma", "Monday")


@pytest.mark.parametrize("form", FORMS)
def test_redaction_leaves_no_word(tmp_path: Path, form: str):
    trace = multimodal_trace()
    unit = dataclasses.replace(trace.units[1], id="lighthouse#2")
    layout = dataclasses.replace(trace.layout, units=(trace.units[0], unit, *trace.units[2:]))
    generation = {
        "stop_strings": ["the ferry"],
        "max_new_tokens": 3,
        "temperature": 0.5,
        "bad_words_ids": [[501, 7502], [503]],
        "sequence_bias": [[[504, 505], -2.5]],
        "suppress_tokens": [506],
        "eos_token_id": [507],
        "forced_bos_token_id": 508,
        "forced_eos_token_id": None,
        "template": {"enable_thinking": False, "tools": [{"name": "lighthouse"}], "date": "Monday"},
    }
    provenance = dataclasses.replace(
        trace.provenance,
        generation=generation,
        model="/home/ada/pier/tiny",
        segmentation={"sources": {"image": {"parameters": {"checkpoint": "/home/ada/pier/dino"}}}},
        signal={**trace.provenance.signal, "parameters": {"path": "/home/ada/pier/estimator"}},
    )
    trace = dataclasses.replace(trace, layout=layout, provenance=provenance)
    trace = trace.reselect(trace.config)
    redacted = trace.redact()
    path = redacted.save(tmp_path / form)
    content = everything_in(path).decode("utf-8", "replace").lower()
    for word in WORDS:
        assert word.lower() not in content, word
    for token in range(501, 509):
        assert str(token) not in str(Trace.load(path).provenance.generation)
    loaded = Trace.load(path)
    assert same(loaded, redacted)
    assert len(loaded.text) == len(trace.text)
    assert set(loaded.text) == {"█"}
    assert set(loaded.token_ids + loaded.prompt_ids) == {-1}
    assert [record.sha256 for record in loaded.media] == [r.sha256 for r in trace.media]
    assert [record.size for record in loaded.media] == [r.size for r in trace.media]
    assert loaded.provenance.model == "tiny"
    sources = loaded.provenance.segmentation["sources"]
    assert sources["image"]["parameters"] == {"checkpoint": "dino"}
    assert loaded.provenance.signal["parameters"] == {"path": "estimator"}
    assert loaded.provenance.generation == {
        "stop_strings": ["█" * 9],
        "max_new_tokens": 3,
        "temperature": 0.5,
        "bad_words_ids": [-1, -1],
        "sequence_bias": [-1],
        "suppress_tokens": [-1],
        "eos_token_id": [-1],
        "forced_bos_token_id": -1,
        "forced_eos_token_id": None,
        "template": {"enable_thinking": False, "tools": None, "date": None},
    }
    for before, after in zip(trace.spans, loaded.spans, strict=True):
        assert (before.start, before.end) == (after.start, after.end)
        assert [s.share for s in before.supports] == [s.share for s in after.supports]
        assert [s.unit.locator for s in before.supports] == [s.unit.locator for s in after.supports]
    again = loaded.reselect(loaded.config)
    assert [s.supports for s in again.spans] == [s.supports for s in loaded.spans]
    assert [unit.id for unit in loaded.units[:3]] == ["text-1", "unit-1", "text-3"]


@given(trace=traces())
@in_tmp_path
def test_any_redacted_trace_is_a_trace(tmp_path: Path, trace: Trace):
    redacted = trace.redact()
    assert same(Trace.load(redacted.save(tmp_path / "t.omnitrace")), redacted)


# --- writing safely -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_never_written(tmp_path: Path, bad: float):
    trace = multimodal_trace()
    scores = trace.scores.copy()
    scores[2, 3] = bad
    salience = np.full_like(trace.salience, bad)
    span = dataclasses.replace(trace.spans[0], grounding=bad)
    signal = {"parameters": {"temperature": bad}}
    for broken in (
        dataclasses.replace(trace, scores=scores),
        dataclasses.replace(trace, salience=salience),
        dataclasses.replace(trace, spans=(span, *trace.spans[1:])),
        dataclasses.replace(trace, provenance=dataclasses.replace(trace.provenance, signal=signal)),
    ):
        with pytest.raises(TraceFileError, match="cannot be written"):
            broken.save(tmp_path / "t.omnitrace")
    assert list(tmp_path.iterdir()) == []


def test_numpy_values_and_tuples_are_written_as_plain_ones(tmp_path: Path):
    trace = multimodal_trace()
    signal = {"layers": (np.int64(3), np.float32(0.5)), "weights": np.arange(2)}
    trace = dataclasses.replace(
        trace, provenance=dataclasses.replace(trace.provenance, signal=signal)
    )
    loaded = Trace.load(trace.save(tmp_path / "t"))
    assert loaded.provenance.signal == {"layers": [3, 0.5], "weights": [0, 1]}


@pytest.mark.parametrize(
    "change",
    [
        {"token_ids": (1, 2)},
        {"text": "short"},
        {"scores": np.zeros((3, 3), dtype=np.float32)},
        {"messages": ()},
        {"messages": ({"role": "user", "content": [{"type": "text"}]},)},
        {"messages": ({"content": "no role"},)},
        {"media": ()},
        {"provenance": Provenance(model="m", adapter="a", signal={"object": object()})},
        {"text": "\ud800" * 400},
    ],
)
def test_a_trace_that_contradicts_itself_is_not_written(tmp_path: Path, change: dict[str, Any]):
    with pytest.raises(TraceFileError, match="cannot be written"):
        dataclasses.replace(multimodal_trace(), **change).save(tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_trace_may_be_replaced_and_nothing_is_left_beside_it(tmp_path: Path, form: str):
    multimodal_trace().save(tmp_path / form, media=True)
    other = text_trace(["One fact. Another fact."], "Which?", "One. Another.")
    other.save(tmp_path / form)
    assert same(Trace.load(tmp_path / form), other)
    assert [each.name for each in tmp_path.iterdir()] == [form]
    if form == "trace":
        assert not (tmp_path / form / "media").exists()


def test_a_folder_that_is_not_a_trace_is_left_alone(tmp_path: Path):
    trace = text_trace(["A fact."], "Which?", "A fact.")
    photos = tmp_path / "photos"
    photos.mkdir()
    trace.save(photos)  # an empty folder is nobody's loss
    (photos / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(TraceFileError, match=r"something else than a trace: cat\.jpg"):
        trace.save(photos)
    assert (photos / "cat.jpg").read_bytes() == b"cat"
    (photos / "cat.jpg").unlink()
    (photos / "media").mkdir()
    (photos / "media" / "holiday.mp4").touch()
    with pytest.raises(TraceFileError, match=r"media/holiday\.mp4"):
        trace.save(photos)


def test_other_places_that_cannot_be_written(tmp_path: Path):
    trace = text_trace(["A fact."], "Which?", "A fact.")
    (tmp_path / "file").touch()
    (tmp_path / "folder.omnitrace").mkdir()
    with pytest.raises(TraceFileError, match="is a file; without the ending"):
        trace.save(tmp_path / "file")
    with pytest.raises(TraceFileError, match=r"is a folder, not an \.omnitrace file"):
        trace.save(tmp_path / "folder.omnitrace")
    with pytest.raises(TraceFileError, match="cannot write"):
        trace.save(tmp_path / "file" / "inside.omnitrace")


@pytest.mark.parametrize("form", FORMS)
def test_a_failed_write_keeps_what_was_there(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
):
    trace = text_trace(["A fact."], "Which?", "A fact.")
    trace.save(tmp_path / form)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TraceFileError, match="No space left on device"):
        multimodal_trace().save(tmp_path / form)
    assert same(Trace.load(tmp_path / form), trace)
    assert [each.name for each in tmp_path.iterdir()] == [form]
