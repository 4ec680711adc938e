"""``omnitrace select-heads`` and ``omnitrace trace --heads``, with the reference model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from omnitrace.signals import load_heads
from tests.helpers.command_line import Run
from tests.helpers.two_documents import two_documents

Lines = Callable[..., Path]


@pytest.fixture
def requests(write_lines: Lines) -> Path:
    return write_lines(*({"id": f"r{n}", "messages": two_documents(n)} for n in range(2)))


def test_heads_are_chosen_and_used(run: Run, requests: Path, model: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "heads.json"
    result = run("select-heads", requests, "--out", out, "--heads", "3", "--per-request", "2")
    assert result.exit_code == 0, result.stderr
    chosen = load_heads(out).selection
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + 3 + 2
    assert lines[-1] == "reference; 4 copied statements of 2 requests; seed 0"
    assert result.stderr == f"omnitrace: wrote {out}\n"
    traced = run("trace", requests, "--heads", out, "--json")
    assert traced.exit_code == 0, traced.stderr
    signal = json.loads(traced.stdout.splitlines()[0])["provenance"]["signal"]
    assert signal["name"] == "selected-heads"
    assert signal["layers"] == sorted({layer for layer, _ in chosen.heads})
    other = run("trace", requests, "--heads", out, "--model", model)
    assert other.exit_code == 2
    assert "has other weights" in other.stderr


def test_what_gives_no_example_is_named_and_the_others_go_on(
    run: Run, requests: Path, write_lines: Lines, tmp_path: Path
) -> None:
    bad = write_lines("{not json", name="bad.jsonl")
    out = tmp_path / "heads.json"
    result = run("select-heads", requests, bad, "--out", out)
    assert result.exit_code == 2
    assert "bad-1, selected-heads" in result.stderr
    assert load_heads(out).selection.requests == 2


def test_mistakes(run: Run, requests: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"version": 1}\n', encoding="utf-8")
    out = tmp_path / "heads.json"
    nowhere = ("--model", "/nowhere", "--out", out)
    result = run("select-heads", requests, "--labels", labels, *nowhere)
    assert result.exit_code == 2
    assert "line 1" in result.stderr
    asked = ("trace", "--ask", "x", "--text", "y", "--heads", out)
    assert "cannot read" in run(*asked).stderr
    assert "both --signal grad-sam and --heads" in run(*asked, "--signal", "grad-sam").stderr
    assert "both --estimator and --heads" in run(*asked, "--estimator", out).stderr
