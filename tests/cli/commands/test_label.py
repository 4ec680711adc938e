"""``omnitrace label``: init, check and import."""

from __future__ import annotations

import json
from pathlib import Path

from omnitrace.evaluation.labels.io import read_labels
from tests.cli.conftest import Run
from tests.helpers.sample_traces import ANSWER, multimodal_trace


def test_label_init_is_refused_until_it_is_filled_in(
    run: Run, traces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "template.jsonl"
    result = run("label", "init", traces, "--out", out)
    assert result.exit_code == 0
    assert "1200 by 900 pixels: pier.png" in result.stdout
    assert "12 s: horn.wav" in result.stdout
    before = run("label", "check", out, traces)
    assert before.exit_code == 2
    assert before.stderr.count("not labelled yet") == 10
    out.write_text(out.read_text("utf-8").replace('"sources": null', '"sources": []'), "utf-8")
    assert run("label", "check", out, traces).exit_code == 0
    found = read_labels(out)
    assert [each.id for each in found] == ["a_1", "b"]
    assert found[0].response == ANSWER
    assert [each.text for each in found[0].spans] == [s.text for s in multimodal_trace().spans]
    again = run("label", "init", traces, "--out", out)
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_label_check(run: Run, traces: Path, labels: Path, wrong: Path) -> None:
    good = run("label", "check", labels, traces)
    assert good.exit_code == 0
    assert "2 labels with 10 spans are fine" in good.stderr
    bad = run("label", "check", wrong, traces)
    assert bad.exit_code == 2
    told = [line.split(": ")[2] for line in bad.stderr.splitlines()]
    assert told == [
        f"{wrong}, line 2, spans[0].sources[0].end",
        f"{wrong}, line 3, id",
        f"{wrong}, line 3, response",
        f"{wrong}, line 3, spans",
    ]
    alone = run("label", "check", labels, traces / "b")
    assert alone.exit_code == 2
    assert "line 1, id: there is no trace of 'a/1' to check it against" in alone.stderr


def test_label_import(run: Run, tmp_path: Path) -> None:
    entry = {
        "id": "one",
        "prompt": "What is it?",
        "question": [{"text": "A pier."}],
        "response": "A pier.",
        "labels": [{"sentence": "A pier.", "text_source": ["A pier."]}],
    }
    broken = {**entry, "id": "two", "labels": [{"sentence": "A pier.", "image_source": [0]}]}
    paper, out = tmp_path / "paper.json", tmp_path / "labels.jsonl"
    paper.write_text(json.dumps([entry, broken]), encoding="utf-8")
    refused = run("label", "import", paper, "--out", out)
    assert refused.exit_code == 2
    assert "[1].labels[0].image_source[0]: 0 is no number of an image" in refused.stderr
    assert not out.exists()
    assert run("label", "import", paper, "--out", out, "--skip-invalid").exit_code == 0
    assert [each.id for each in read_labels(out)] == ["one"]
