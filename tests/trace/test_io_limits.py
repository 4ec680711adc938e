"""A trace that loads is one that every part can use: sizes, places and numbers have bounds."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from omnitrace.errors import TraceFileError
from omnitrace.trace import io as trace_io
from omnitrace.trace.trace import Trace
from tests.fuzz.special_files import SPECIAL_FILES
from tests.helpers.sample_traces import multimodal_trace, text_trace
from tests.helpers.trace_files import write_folder


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A trace of all modalities."""
    path = multimodal_trace().save(tmp_path_factory.mktemp("harbour") / "t")
    return {
        "document": (path / "trace.json").read_text(encoding="utf-8"),
        "tensors": (path / "scores.safetensors").read_bytes(),
    }


LARGE = 10**300


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("image", {"grid": [0, 0]}),
        ("image", {"grid": [10**9, 10**9]}),
        ("image", {"grid": [1, 10**7]}),
        ("image", {"cells": [10**9]}),
        ("image", {"cells": [LARGE]}),
        ("image", {"box": [9.0, 9.0, 0.0, 0.0]}),
        ("image", {"box": [-1e308, -1e308, 1e308, 1e308]}),
        ("audio", {"start": 99.0}),
        ("audio", {"start": -99.0}),
        ("audio", {"end": 1e308}),
        ("video", {"frames": [LARGE]}),
    ],
)
def test_places_that_no_renderer_draws(
    tmp_path: Path, harbour: dict[str, Any], kind: str, change: dict[str, Any]
):
    document = json.loads(harbour["document"])
    unit = next(each for each in document["units"] if each["modality"] == kind)
    unit["locator"] |= change
    with pytest.raises(TraceFileError, match=r"breaks the schema at units\.\d+\.locator"):
        Trace.load(write_folder(tmp_path / "t", document, harbour["tensors"]))


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("media.0", {"size": [10**9, 10**9]}),
        ("media.0", {"size": [LARGE, 1]}),
        ("media.0", {"sha256": "x"}),
        ("media.1", {"duration": 1e308}),
        ("media.1", {"duration": -1.0}),
        ("media.1", {"waveform": [0.5] * 300_000}),
        ("media.1", {"waveform": [1e308]}),
        ("media.2", {"frame_times": [1e308]}),
        ("media.2", {"previews": ["AAAA"] * 100_000}),
        ("tokens.0", {"confidence": -1.0}),
        ("tokens.0", {"index": 99}),
        ("tokens.0", {"id": LARGE}),
        ("spans.0", {"grounding": 7.0}),
        ("spans.0", {"index": LARGE}),
        ("token_ids", {"0": LARGE}),
        ("prompt_ids", {"0": -LARGE}),
        ("units.0.positions", {"0": LARGE}),
        ("spans.0.supports.0", {"share": 1e308}),
        ("spans.0.supports.0", {"rank": LARGE}),
    ],
)
def test_numbers_that_mean_nothing(
    tmp_path: Path, harbour: dict[str, Any], place: str, change: dict[str, Any]
):
    document = inner = json.loads(harbour["document"])
    for step in place.split("."):
        inner = inner[int(step) if step.isdecimal() else step]
    for name, value in change.items():
        inner[int(name) if name.isdecimal() else name] = value
    with pytest.raises(TraceFileError, match="breaks the schema"):
        Trace.load(write_folder(tmp_path / "t", document, harbour["tensors"]))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("element", ["[]", "{}", "1e5"])
def test_a_document_that_would_fill_the_memory(tmp_path: Path, element: str):
    path = tmp_path / "bomb.omnitrace"
    text = '{"format": "omnitrace-trace", "version": 4, "x": [' + f"{element}," * 7_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("trace.json", text + "1]}")
    with pytest.raises(TraceFileError, match="it holds more than 6000000 values"):
        Trace.load(path)


def test_a_trace_too_large_to_be_loaded_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trace_io, "MAX_MEMBER_BYTES", 100)
    with pytest.raises(TraceFileError, match=r"scores\.safetensors of this trace would have"):
        text_trace(["One."], "Which?", "One.").save(tmp_path / "t.omnitrace")
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for number, make in enumerate(SPECIAL_FILES.values()):
        path = tmp_path / f"{number}.omnitrace"
        make(path)
        with pytest.raises(TraceFileError, match=r"there is no trace at|cannot read the trace"):
            Trace.load(path)
        path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()
        (tmp_path / "other").unlink(missing_ok=True)
