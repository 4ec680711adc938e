"""A broken or foreign file is refused with its reason, or loads as what it was."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from omnitrace._utils import documents
from omnitrace.errors import TraceFileError
from omnitrace.trace import archive as archive_of_traces
from omnitrace.trace import io as trace_io
from omnitrace.trace.trace import Trace
from tests.helpers.random_traces import in_tmp_path, same, values
from tests.helpers.sample_traces import multimodal_trace, text_trace
from tests.helpers.trace_files import write_folder

# --- reading what is broken or foreign ----------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    trace = text_trace(["One fact here. Another fact."], "Which?", "One fact. Another.")
    folder = tmp_path_factory.mktemp("small")
    return {
        "trace": trace,
        "zip": trace.save(folder / "t.omnitrace").read_bytes(),
        "members": {
            name: (trace.save(folder / "t") / name).read_bytes()
            for name in ("trace.json", "scores.safetensors")
        },
    }


def loads_equal_or_is_refused(path: Path, trace: Trace) -> None:
    try:
        loaded = Trace.load(path)
    except TraceFileError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert same(loaded, trace)


@given(data=st.data())
@settings(in_tmp_path, max_examples=300)
def test_flipped_and_missing_bytes_of_a_zip(tmp_path: Path, small: dict[str, Any], data):
    content = bytearray(small["zip"])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            # The last bytes are the directory, whose lies are the more interesting ones.
            place = data.draw(st.integers(0, len(content) - 1) | st.integers(-250, -1))
            content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "t.omnitrace"
    path.write_bytes(content)
    loads_equal_or_is_refused(path, small["trace"])


@given(data=st.data())
@settings(in_tmp_path, max_examples=200)
def test_flipped_and_missing_bytes_of_a_folder(tmp_path: Path, small: dict[str, Any], data):
    folder = tmp_path / "t"
    folder.mkdir(exist_ok=True)
    name = data.draw(st.sampled_from(sorted(small["members"])))
    content = bytearray(small["members"][name])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    for each, original in small["members"].items():
        (folder / each).write_bytes(content if each == name else original)
    loads_equal_or_is_refused(folder, small["trace"])


@given(content=st.binary(max_size=200) | st.builds(json.dumps, values).map(str.encode))
@in_tmp_path
def test_any_other_content_is_refused(tmp_path: Path, small: dict[str, Any], content: bytes):
    folder = tmp_path / "t"
    folder.mkdir(exist_ok=True)
    (folder / "trace.json").write_bytes(content)
    (folder / "scores.safetensors").write_bytes(small["members"]["scores.safetensors"])
    (tmp_path / "t.omnitrace").write_bytes(content)
    for path in (folder, tmp_path / "t.omnitrace"):
        with pytest.raises(TraceFileError):
            Trace.load(path)


def test_a_newer_version_is_refused_by_name(tmp_path: Path, small: dict[str, Any]):
    document = json.loads(small["members"]["trace.json"]) | {"version": 5, "novelty": True}
    path = write_folder(tmp_path / "t", document, b"")
    with pytest.raises(
        TraceFileError,
        match="written by a newer Omnitrace: version 5; this one reads up to 4; "
        "upgrade omnitrace-attribution",
    ):
        Trace.load(path)


def test_an_older_version_is_migrated(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    old = json.loads(small["members"]["trace.json"])
    old["response"] = old.pop("text")
    monkeypatch.setattr(trace_io, "VERSION", 5)
    monkeypatch.setattr(
        trace_io, "_MIGRATIONS", {4: lambda d: d | {"text": d["response"], "tokens": []}}
    )
    with pytest.raises(TraceFileError, match="breaks the schema at"):  # this migration is half done
        Trace.load(write_folder(tmp_path / "t", dict(old), small["members"]["scores.safetensors"]))

    def migrate(document: dict[str, Any]) -> dict[str, Any]:
        text = document.pop("response")
        return document | {"text": text}

    monkeypatch.setattr(trace_io, "_MIGRATIONS", {4: migrate})
    path = write_folder(tmp_path / "t", dict(old), small["members"]["scores.safetensors"])
    assert same(Trace.load(path), small["trace"])


def test_version_2_called_rollout_relay(tmp_path: Path, small: dict[str, Any]):
    old = json.loads(small["members"]["trace.json"]) | {"version": 2}
    assert old["config"].pop("rollout") is False
    old["config"]["relay"] = True
    tensors = small["members"]["scores.safetensors"]
    assert Trace.load(write_folder(tmp_path / "t", dict(old), tensors)).config.rollout
    old["config"]["rollout"] = True
    with pytest.raises(TraceFileError, match="breaks the schema"):
        Trace.load(write_folder(tmp_path / "u", old | {"version": 3}, tensors))


def test_version_1_knew_no_sections(tmp_path: Path, small: dict[str, Any]):
    old = json.loads(small["members"]["trace.json"]) | {"version": 1}
    for span in old["spans"]:
        assert span.pop("section") == "answer"
    tensors = small["members"]["scores.safetensors"]
    assert same(Trace.load(write_folder(tmp_path / "t", dict(old), tensors)), small["trace"])
    for spans in (None, [1], {}):
        with pytest.raises(TraceFileError, match=r"breaks the schema at spans"):
            Trace.load(write_folder(tmp_path / "t", old | {"spans": spans}, tensors))
    old["spans"][0]["section"] = "aside"
    with pytest.raises(TraceFileError, match="breaks the schema"):
        Trace.load(write_folder(tmp_path / "t", old | {"version": 2}, tensors))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "coco"}, "does not say that it is of the format"),
        ({"version": "1"}, "has the version '1'"),
        ({"version": 0}, "has the version 0"),
        ({"version": True}, "has the version True"),
        ({"novelty": 1}, "breaks the schema at novelty"),
        ({"text": 3}, "breaks the schema at text: Input should be a valid string"),
        ({"units": []}, "names an unknown unit"),
        ({"token_ids": []}, "tokens but 0 token ids"),
        ({"prompt_ids": [1]}, "scores has shape|unit 'text-1' has a position|larger than"),
        ({"media": [{}]}, "breaks the schema at media.0"),
        ({"config": {"alpha": 7.0}}, r"config: .*alpha"),
        ({"config": {"beta": 7.0}}, r"breaks the schema at config\.\w*\.?beta"),
    ],
)
def test_a_document_that_breaks_the_schema(
    tmp_path: Path, small: dict[str, Any], change: dict[str, Any], message: str
):
    document = json.loads(small["members"]["trace.json"]) | change
    path = write_folder(tmp_path / "t", document, small["members"]["scores.safetensors"])
    with pytest.raises(TraceFileError, match=message):
        Trace.load(path)


def test_a_locator_needs_its_type(tmp_path: Path, small: dict[str, Any]):
    document = json.loads(small["members"]["trace.json"])
    document["units"][0]["locator"]["type"] = "page"
    path = write_folder(tmp_path / "t", document, small["members"]["scores.safetensors"])
    with pytest.raises(TraceFileError, match=r"units\.0\.locator: .*'text_range'"):
        Trace.load(path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("scores", np.zeros((1, 2), dtype=np.float32), r"scores has shape \[1, 2\]"),
        ("salience", np.zeros(4, dtype=np.float32), "salience has shape"),
        ("kinds", None, "it holds"),
        ("kinds", np.full(9, 9, dtype=np.uint8), "kinds holds|kinds has shape"),
    ],
)
def test_tensors_that_do_not_fit_the_document(
    tmp_path: Path, small: dict[str, Any], name: str, array: np.ndarray | None, message: str
):
    tensors = load_tensors(small["members"]["scores.safetensors"])
    if array is None:
        del tensors[name]
    else:
        tensors[name] = array
    document = json.loads(small["members"]["trace.json"])
    path = write_folder(tmp_path / "t", document, save_tensors(tensors))
    with pytest.raises(TraceFileError, match=message):
        Trace.load(path)


def test_tensors_hold_no_nan_and_agree_with_the_units(tmp_path: Path, small: dict[str, Any]):
    document = json.loads(small["members"]["trace.json"])
    tensors = {
        name: array.copy()
        for name, array in load_tensors(small["members"]["scores.safetensors"]).items()
    }
    tensors["scores"][0, 0] = np.nan
    path = write_folder(tmp_path / "t", document, save_tensors(tensors))
    with pytest.raises(TraceFileError, match="not finite"):
        Trace.load(path)
    tensors["scores"][0, 0] = 0
    tensors["unit_index"][0] = 1
    path = write_folder(tmp_path / "t", document, save_tensors(tensors))
    with pytest.raises(TraceFileError, match="unit_index and the positions of the units differ"):
        Trace.load(path)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "[" * 5000, "{", "\udcff"])
def test_invalid_json(tmp_path: Path, small: dict[str, Any], text: str):
    folder = write_folder(tmp_path / "t", {}, b"")
    content = f'{{"format": "omnitrace-trace", "version": 1, "x": {text}}}'
    (folder / "trace.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(TraceFileError, match=r"trace\.json is not valid JSON"):
        Trace.load(folder)


def test_missing_paths_and_members(tmp_path: Path, small: dict[str, Any]):
    with pytest.raises(TraceFileError, match="there is no trace at"):
        Trace.load(tmp_path / "nowhere.omnitrace")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceFileError, match=r"trace\.json is missing"):
        Trace.load(tmp_path / "empty")
    (tmp_path / "text.omnitrace").write_text("not a zip")
    with pytest.raises(TraceFileError, match="neither a folder nor a complete zip file"):
        Trace.load(tmp_path / "text.omnitrace")
    with zipfile.ZipFile(tmp_path / "half.omnitrace", "w") as archive:
        archive.writestr("trace.json", small["members"]["trace.json"])
    with pytest.raises(TraceFileError, match=r"scores\.safetensors is missing"):
        Trace.load(tmp_path / "half.omnitrace")
    stored = multimodal_trace().save(tmp_path / "stored", media=True)
    (stored / "media" / "1").write_bytes(b"RIFF another recording")
    with pytest.raises(TraceFileError, match="media/1 is not the file that was stored"):
        Trace.load(stored)
    (stored / "media" / "1").unlink()
    with pytest.raises(TraceFileError, match="media/1 is missing"):
        Trace.load(stored)


def test_zip_bombs_are_not_unpacked(tmp_path: Path, small: dict[str, Any], monkeypatch):
    path = tmp_path / "bomb.omnitrace"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trace.json", small["members"]["trace.json"])
        archive.writestr("scores.safetensors", bytes(10_000_000))
    with pytest.raises(TraceFileError, match=r"scores\.safetensors is larger than the \d{5} bytes"):
        Trace.load(path)
    monkeypatch.setattr(trace_io, "MAX_DOCUMENT_BYTES", 100)
    with pytest.raises(TraceFileError, match=r"trace\.json is larger than the 100 bytes"):
        Trace.load(path)


def claiming(small: dict[str, Any], **change: Any) -> dict[str, Any]:
    document = json.loads(small["members"]["trace.json"]) | change
    tensors = small["members"]["scores.safetensors"]
    document["checksums"] = {
        "document": trace_io._digest_of_document(document),
        "tensors": hashlib.sha256(tensors).hexdigest(),
    }
    return document


def test_no_claim_moves_the_limit_of_the_tensors(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """As many tokens as it takes to make a bomb plausible."""
    monkeypatch.setattr(trace_io, "MAX_MEMBER_BYTES", 1_000_000)
    many = claiming(small, prompt_ids=[1] * 500_000)
    path = tmp_path / "bomb.omnitrace"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trace.json", json.dumps(many))
        archive.writestr("scores.safetensors", bytes(5_000_000))
    with pytest.raises(TraceFileError, match="larger than the 1000000 bytes"):
        Trace.load(path)


def test_media_are_bounded_by_what_the_file_takes_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = multimodal_trace().save(tmp_path / "t.omnitrace", media=True)
    zipped_again = tmp_path / "again.omnitrace"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(zipped_again, "w", 8) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    assert same(Trace.load(zipped_again), Trace.load(path))
    content = bytes(3_000_000)
    with zipfile.ZipFile(path) as whole:
        document = json.loads(whole.read("trace.json"))
        members = {name: whole.read(name) for name in whole.namelist()}
    document["media"][0]["stored"] = {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    document["checksums"]["document"] = trace_io._digest_of_document(document)
    members |= {"trace.json": json.dumps(document).encode(), "media/0": content}
    with zipfile.ZipFile(path, "w", 8) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert path.stat().st_size < 150_000
    assert Trace.load(path).media[0].read is not None
    monkeypatch.setattr(archive_of_traces, "_MEDIA_FREE_BYTES", 0)
    with pytest.raises(TraceFileError, match="media/0 is larger than the"):
        Trace.load(path)


def test_a_document_of_millions_of_values_is_not_parsed(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(documents, "MAX_VALUES", 5_000)
    path = write_folder(tmp_path / "t", claiming(small, messages=[[]] * 5_000), b"")
    with pytest.raises(TraceFileError, match=r"trace\.json .*: it holds more than 5000"):
        Trace.load(path)
    monkeypatch.setattr(documents, "MAX_VALUES", 10)
    with pytest.raises(TraceFileError, match="cannot be written: it holds more than 10 values"):
        small["trace"].save(tmp_path / "u")
    monkeypatch.setattr(trace_io, "MAX_MEMBER_BYTES", 10)
    with pytest.raises(TraceFileError, match=r"scores\.safetensors of this trace would"):
        small["trace"].save(tmp_path / "u")
    assert not (tmp_path / "u").exists()


def test_a_zip_of_too_many_members_is_not_listed(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "t.omnitrace"
    path.write_bytes(small["zip"])
    assert Trace.load(path)
    monkeypatch.setattr(archive_of_traces, "_MAX_DIRECTORY_BYTES", 50)
    with pytest.raises(TraceFileError, match="the list of its members"):
        Trace.load(path)
    monkeypatch.undo()
    end = small["zip"].rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + bytes(16)
    path.write_bytes(small["zip"][:end] + locator + small["zip"][end:])
    with pytest.raises(TraceFileError, match="the list of its members"):
        Trace.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
def test_special_files_are_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "t.omnitrace")
    with pytest.raises(TraceFileError, match="no regular file"):
        Trace.load(tmp_path / "t.omnitrace")


def test_members_elsewhere_are_never_touched(tmp_path: Path, small: dict[str, Any]):
    path = tmp_path / "t.omnitrace"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in small["members"].items():
            archive.writestr(name, content)
        archive.writestr("../outside", b"x")
        archive.writestr("/absolute", b"x")
    assert same(Trace.load(path), small["trace"])
    assert [each.name for each in tmp_path.iterdir()] == ["t.omnitrace"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_the_compression_that_is_written_is_read(
    tmp_path: Path, small: dict[str, Any], method: int
):
    with zipfile.ZipFile(tmp_path / "t.omnitrace", "w", method) as archive:
        for name, content in small["members"].items():
            archive.writestr(name, content)
    with pytest.raises(TraceFileError, match="compressed in a way that traces are not"):
        Trace.load(tmp_path / "t.omnitrace")
