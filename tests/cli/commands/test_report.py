"""``omnitrace report``: traces as one page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from omnitrace.trace.trace import Trace
from tests.helpers.command_line import Run
from tests.helpers.sample_traces import multimodal_trace, text_trace


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text("utf-8").split('id="omnitrace-data">', 1)[1].split("</script>", 1)[0]
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def trace() -> Trace:
    return multimodal_trace()


def test_several_traces_and_a_label_file(run: Run, tmp_path: Path, trace: Trace) -> None:
    trace.save(tmp_path / "in" / "harbour.omnitrace", media=True)
    text_trace(["A fact."], "Which?", "A fact.").save(tmp_path / "in" / "other.omnitrace")
    span = trace.spans[1]
    source = {"type": "text", "message": 0, "part": 0, "quote": "The ferry Alma"}
    said = {"start": span.start, "end": span.end, "text": span.text, "sources": [source]}
    label = {"version": 1, "id": "harbour", "response": trace.text, "spans": [said]}
    (tmp_path / "labels.jsonl").write_text(json.dumps(label) + "\n", "utf-8")
    out = tmp_path / "page.html"
    result = run(
        "report", tmp_path / "in", "--labels", tmp_path / "labels.jsonl", "--media", "--out", out
    )
    assert result.exit_code == 0, result.stderr
    assert "no label for other" in result.stderr
    first, second = data_of(out)["traces"]
    assert [first["title"], second["title"]] == ["harbour", "other"]
    assert first["spans"][1]["truth"]["result"] == "right"
    assert first["spans"][0]["truth"] is None
    assert {"file"} == {"file", "absent"} & set(first["parts"][2])


def test_two_traces_side_by_side(run: Run, tmp_path: Path, trace: Trace) -> None:
    one = trace.save(tmp_path / "a" / "harbour.omnitrace")
    few = trace.reselect(dataclasses.replace(trace.config, max_supports=1))
    two = few.save(tmp_path / "b" / "harbour.omnitrace")
    out = tmp_path / "page.html"
    result = run("report", one, two, "--compare", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert data_of(out)["compare"]["pairs"][0] == [0, 0]
    other = text_trace(["A fact."], "Which?", "A fact.").save(tmp_path / "c.omnitrace")
    refused = run("report", one, other, "--compare", "--out", out)
    assert refused.exit_code == 2
    assert "not of the same request" in refused.stderr
