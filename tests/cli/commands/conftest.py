"""Traces and labels of the harbour request, as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnitrace.evaluation.labels.io import write_labels
from omnitrace.evaluation.labels.schema import TimeSource
from tests.helpers.sample_labels import label, span
from tests.helpers.sample_traces import multimodal_trace


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """A folder with a trace file of the request ``a/1`` and a trace folder of ``b``."""
    folder = tmp_path / "traces"
    multimodal_trace().save(folder / "a_1.omnitrace")
    multimodal_trace().save(folder / "b")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "labels.jsonl", [label("a/1"), label("b")])


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    bad = label("b", [span("A fog horn", [TimeSource(message=0, part=2, start=1, end=99)])])
    path = write_labels(tmp_path / "wrong.jsonl", [label("a/1"), bad])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"version": 1}\n')
    return path
