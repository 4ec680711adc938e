"""``omnitrace calibrate`` and ``omnitrace trace --calibration``, with the reference model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from omnitrace.evaluation import read_calibration
from tests.helpers.command_line import Run
from tests.helpers.two_documents import two_documents

Lines = Callable[..., Path]


@pytest.fixture
def requests(write_lines: Lines) -> Path:
    return write_lines(*({"id": f"r{n}", "messages": two_documents(n)} for n in range(4)))


def test_a_threshold_is_fitted_and_used(
    run: Run, requests: Path, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "calibration.json"
    result = run("calibrate", requests, "--out", out, "--per-request", "2")
    assert result.exit_code == 0, result.stderr
    found = read_calibration(out)
    assert f"{found.threshold:.2f} nats" in result.stdout
    assert "8 copied statements" in result.stdout
    assert "for responses that quote" in result.stdout
    assert result.stdout.splitlines()[-1] == "reference; 4 requests; seed 0"
    assert result.stderr == f"omnitrace: wrote {out}\n"
    traced = run("trace", requests, "--calibration", out, "--json")
    assert traced.exit_code == 0, traced.stderr
    kept = json.loads(traced.stdout.splitlines()[0])["config"]
    assert (kept["verdict_min"], kept["fitted_to"]) == (found.threshold, found.fingerprint)
    other = run("trace", requests, "--calibration", out, "--model", model)
    assert other.exit_code == 2
    assert "calibrated for another model" in other.stderr


def test_what_gives_no_example_is_named_and_the_others_go_on(
    run: Run, requests: Path, write_lines: Lines, tmp_path: Path
) -> None:
    bad = write_lines("{not json", name="bad.jsonl")
    out = tmp_path / "calibration.json"
    result = run("calibrate", requests, bad, "--out", out, "--per-request", "2")
    assert result.exit_code == 2
    assert "bad-1, calibration" in result.stderr
    assert read_calibration(out).requests == 4


def test_mistakes(run: Run, requests: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"version": 1}\n', encoding="utf-8")
    out = tmp_path / "c.json"
    nowhere = ("--model", "/nowhere", "--out", out)
    result = run("calibrate", requests, "--labels", labels, *nowhere)
    assert result.exit_code == 2
    assert "line 1" in result.stderr
    result = run("calibrate", requests, "--out", out, "--per-request", "1")
    assert result.exit_code == 2
    assert "4 statements with a source and 4 without" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "options", [("--no-verify",), ("--signal", "attention-mean"), ("--signal", "grad-sam")]
)
def test_a_calibration_without_verification_is_refused(
    run: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    absent = tmp_path / "absent.json"
    result = run("trace", "--ask", "x", "--text", "y", "--calibration", absent, *options)
    assert result.exit_code == 2
    assert "--calibration means nothing where supports are not verified" in result.stderr
    result = run("trace", "--ask", "x", "--text", "y", "--calibration", absent)
    assert "cannot read" in result.stderr
