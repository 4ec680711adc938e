"""``omnitrace sanity``, with an untrained model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from omnitrace import Tracer
from omnitrace.evaluation.sanity import SanityDocument
from tests.helpers.command_line import Run

TEXTS = [
    {"type": "text", "text": "The lamp weighs eight grams. The cup weighs nine grams. Rain fell."},
    {"type": "text", "text": "What does the lamp weigh?"},
]
REQUEST = {"messages": [{"role": "user", "content": TEXTS}]}
TWO_SOURCES = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Rain fell."}, *TEXTS]}]
}
ONE_UNIT = {"id": "single", "messages": [{"role": "user", "content": "The lamp is red."}]}
Lines = Callable[..., Path]


def test_requests_are_answered_and_checked(
    run: Run, model: str, write_lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(*_: object, **__: object) -> None:
        raise AssertionError("answers need no trace")

    monkeypatch.setattr(Tracer, "trace", traced)
    path = write_lines({"id": "a", **REQUEST}, {"id": "b", **REQUEST})
    out = tmp_path / "deep" / "sanity.json"
    result = run(
        *("sanity", path, "--model", model, "--signals", "attention-mean, attention-last"),
        *("--max-new-tokens", "8", "--top", "1", "--seed", "3", "--out", out),
    )
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "Parameter randomisation" in lines
    assert "Agreement between ablation operators" in lines
    control = next(line for line in lines if line.startswith("unit-size"))
    assert control.split()[1:3] == ["1.00", "1.00"]
    assert control.endswith("no")
    assert lines[-1] == f"{Path(model).name}; 2 responses; seed 3"
    assert result.stderr == f"omnitrace: wrote {out}\n"
    found = SanityDocument.model_validate_json(out.read_text("utf-8"))
    assert found.examples == ("a", "b")
    assert found.signals == ("attention-mean", "attention-last")
    assert found.regeneration is not None
    assert found.regeneration.unablated.value == 0.0


def test_a_trace_and_one_check(run: Run, model: str, write_lines: Lines, tmp_path: Path) -> None:
    path = write_lines({"id": "a", **REQUEST})
    traced = run(
        "trace", path, "--model", model, "--max-new-tokens", "8", "--out", tmp_path / "run"
    )
    assert traced.exit_code == 0, traced.stderr
    result = run("sanity", tmp_path / "run", "--model", model, "--checks", "evidence")
    assert result.exit_code == 0, result.stderr
    assert "Shuffled evidence" in result.stdout
    assert "Parameter randomisation" not in result.stdout


def test_stability_is_one_table(run: Run, model: str, write_lines: Lines, tmp_path: Path) -> None:
    path = write_lines({"id": "a", **TWO_SOURCES}, {"id": "b", **REQUEST})
    out = tmp_path / "stability.json"
    result = run(
        *("sanity", path, "--model", model, "--stability", "--signals", "default,attention-last"),
        *("--second-model", model, "--max-new-tokens", "6", "--out", out),
    )
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "Stability of supports"
    assert [line.split()[0] for line in lines[1:4]] == ["signal", "default", "attention-last"]
    assert "order: 1 requests are left out: no message has two sources" in lines
    assert "Shuffled evidence" not in lines
    found = SanityDocument.model_validate_json(out.read_text("utf-8"))
    assert found.signals == ("default", "attention-last")
    assert found.evidence is None
    assert found.stability is not None
    rows = {(row.signal, row.against): row for row in found.stability.rows}
    assert rows["attention-last", "model"].jaccard.value == 1


def test_what_cannot_be_checked_loses_no_other(run: Run, model: str, write_lines: Lines) -> None:
    path = write_lines(ONE_UNIT, "{not json", {"id": "good", **REQUEST})
    result = run(
        *("sanity", path, "--model", model, "--max-new-tokens", "6", "--checks", "evidence")
    )
    assert result.exit_code == 2
    assert "single: the response has" in result.stderr
    assert "legal" in result.stderr.lower()
    assert "Shuffled evidence" in result.stdout
    assert "1 responses" in result.stdout
    alone = run("sanity", write_lines(ONE_UNIT), "--model", model, "--max-new-tokens", "6")
    assert alone.exit_code == 2
    assert "none of 1 examples can be checked" in alone.stderr
    assert not alone.stdout


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--checks", "evidnce", "did you mean 'evidence'"),
        ("--checks", ",", "no check is named"),
        ("--second-model", "other", "--second-model with --stability"),
        ("--signals", "attention-men", "did you mean 'attention-mean'"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(
    run: Run, write_lines: Lines, option: str, value: str, message: str
) -> None:
    result = run("sanity", write_lines(REQUEST), "--model", "/nowhere", option, value)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_one_name_for_two_examples_is_refused(run: Run, write_lines: Lines, tmp_path: Path) -> None:
    first = write_lines({"id": "a", **REQUEST})
    second = write_lines({"id": "a", **REQUEST}, name="other.jsonl")
    assert json.loads(first.read_text())["id"] == "a"
    result = run("sanity", first, second, "--model", "/nowhere")
    assert result.exit_code == 2
    assert "2 examples are named 'a'" in result.stderr
