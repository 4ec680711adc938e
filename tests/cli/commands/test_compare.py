"""``omnitrace compare``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omnitrace.evaluation.labels.io import write_labels
from omnitrace.evaluation.labels.schema import Label
from omnitrace.trace.trace import Trace
from omnitrace.types import Effect
from tests.helpers.command_line import Run, run_command
from tests.helpers.sample_labels import label, span
from tests.helpers.sample_traces import multimodal_trace


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A and B, of which B is worse; no test changes them."""
    tmp_path = tmp_path_factory.mktemp("evaluations")
    trace = multimodal_trace()
    worse = trace.with_effects(
        [{unit.id: Effect(float(unit.id == "video-1")) for unit in trace.units}] * 5
    )
    labels = write_labels(tmp_path / "labels.jsonl", [label("a"), label("b")])
    for name, second in (("A", trace), ("B", worse)):
        trace.save(tmp_path / name / "a.omnitrace")
        second.save(tmp_path / name / "b.omnitrace")
        result = run_command(
            "evaluate", tmp_path / name, "--labels", labels, "--json", tmp_path / f"{name}.json"
        )
        assert result.exit_code == 0, result.stderr
    return tmp_path / "A.json", tmp_path / "B.json"


def test_the_differences_are_printed(run: Run, evaluations: tuple[Path, Path]) -> None:
    result = run("compare", *evaluations)
    assert result.exit_code == 0, result.stderr
    heading, *lines = result.stdout.splitlines()
    assert heading.split() == [
        "group", "metric", "pairs", "left", "out", "A", "B", "B", "−", "A",  # noqa: RUF001
    ]  # fmt: skip
    (f1,) = [line.split() for line in lines if line.split()[:2] == ["all", "f1"]]
    assert f1[2] == "10"
    assert float(f1[5]) < float(f1[4])
    assert f"B: {evaluations[1]}, 2 examples, 10 spans said; signal: attention-mean" in lines
    assert not result.stderr


def test_a_rule_that_holds_fails(run: Run, evaluations: tuple[Path, Path]) -> None:
    result = run("compare", *evaluations, "--fail-if", "f1 < -0.02", "--fail-if", "auprc > 0.9")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("omnitrace: failed: f1 < -0.02: f1 of all changed by -0.")
    better = run("compare", *reversed(evaluations), "--fail-if", "f1 < -0.02")
    assert better.exit_code == 0
    assert "the rule does not hold" in better.stderr
    # Of one of two examples nothing changed, so the interval reaches 0.
    assert run("compare", *evaluations, "--fail-if", "f1.high < 0").exit_code == 0


@pytest.mark.parametrize(
    ("rule", "message"),
    [("f1", "is no rule"), ("f2 < 0", "did you mean 'f1'"), ("f1@images < 0", "no group")],
)
def test_wrong_rules(run: Run, evaluations: tuple[Path, Path], rule: str, message: str) -> None:
    result = run("compare", *evaluations, "--fail-if", rule)
    assert result.exit_code == 2
    assert not result.stdout
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_gate_on_measured_effects(run: Run, model: str, tmp_path: Path) -> None:
    facts = "The lamp is red. The cup is blue. Rain fell. The key is green. Nobody came."
    content = [{"type": "text", "text": facts}, {"type": "text", "text": "What is red?"}]
    request = tmp_path / "a.json"
    request.write_text(json.dumps({"id": "a", "messages": [{"role": "user", "content": content}]}))
    for name, signal in (("A", "attention-mean"), ("B", "attention-last")):
        options = ("--model", model, "--max-new-tokens", "6")
        traced = run("trace", request, *options, "--signal", signal, "--out", tmp_path / name)
        assert traced.exit_code == 0, traced.stderr
        answer = Trace.load(tmp_path / name / "a.omnitrace").text
        labels = write_labels(tmp_path / "labels.jsonl", [_label(answer)])
        found = run(
            *("evaluate", tmp_path / name, "--labels", labels, "--model", model),
            *("--metrics", "lds,top-1-drop,insertion-auc", "--json", tmp_path / f"{name}.json"),
            *("--cache", tmp_path / "cache"),
        )
        assert found.exit_code == 0, found.stderr
        assert found.stdout.splitlines()[0].split()[3:] == ["lds", "top-1-drop", "insertion-auc"]
        assert "measuring effects takes up to" in found.stderr
        assert list((tmp_path / "cache").glob("*.safetensors"))
    both = tmp_path / "A.json", tmp_path / "B.json"
    same = run("compare", both[0], both[0], "--fail-if", "lds < -0.02")
    assert same.exit_code == 0, same.stderr
    assert "the rule does not hold" in same.stderr
    strict = run(
        *("compare", *both, "--fail-if", "lds < 3", "--fail-if", "top-1-drop > 999"),
        *("--fail-if", "insertion-auc < 999"),
    )
    assert strict.exit_code == 1
    assert "failed: insertion-auc < 999" in strict.stderr
    assert "failed: lds < 3: lds of all changed by" in strict.stderr
    assert "top-1-drop > 999" not in strict.stderr


def _label(answer: str) -> Label:
    return Label(version=1, id="a", response=answer, spans=(span(answer.strip(), [], answer),))
