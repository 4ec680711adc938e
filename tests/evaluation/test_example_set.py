"""Which requests and traces paths name."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.example_set import find_traces
from tests.helpers.sample_traces import multimodal_trace


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    multimodal_trace().save(folder / "a_1.omnitrace")
    multimodal_trace().save(folder / "b")
    return folder


def test_traces_that_are_none(tmp_path: Path, traces: Path) -> None:
    assert find_traces([traces]) == [traces / "a_1.omnitrace", traces / "b"]
    assert find_traces([traces / "b"]) == [traces / "b"]
    with pytest.raises(InputError, match="there is no"):
        find_traces([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no trace"):
        find_traces([tmp_path / "empty"])
    with pytest.raises(InputError, match="2 traces are named 'b'"):
        find_traces([traces, traces / "b"])
