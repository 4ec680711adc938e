"""``omnitrace plan`` with the reference model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.command_line import Run
from tests.helpers.two_documents import two_documents

Lines = Callable[..., Path]


@pytest.fixture
def requests(write_lines: Lines) -> Path:
    return write_lines({"id": "weights", "messages": two_documents(0)})


def test_a_plan_is_printed(run: Run, requests: Path) -> None:
    result = run("plan", requests, "--signal", "grad-sam", "--signal", "value-attention")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["weights", "modality", "tokens", "units"]
    assert any(line.startswith("grad-sam ") and "2.50 times" in line for line in lines)
    assert any("weights 8.9 MB" in line for line in lines)
    assert "only with --measure" in result.stdout


def test_the_sources_of_a_sample(run: Run, sample: Path) -> None:
    result = run("plan", sample, "--json", "--device", "cuda", "--memory", "0.008")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {each["modality"] for each in document["sources"]} >= {"image", "audio", "video"}
    assert document["fits"] is False
    assert any("bfloat16" in line for line in document["advice"])
    assert len(document["signals"]) > 10


def test_mistakes(run: Run, write_lines: Lines) -> None:
    lines = write_lines("{not json", {"id": "good", "messages": two_documents(0)})
    result = run("plan", lines, "--signal", "attention-mean", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["id"] == "good"
    assert "error" in result.stderr
    wrong = run("plan", lines, "--signal", "no-such-signal")
    assert wrong.exit_code == 2
    assert "no-such-signal" in wrong.stderr
