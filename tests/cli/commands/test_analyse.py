"""``omnitrace analyse``: tables, JSON, plots and outcomes, and the mistakes one can make."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from omnitrace.analysis import TrajectoryConfig, steps_of, trajectory
from omnitrace.evaluation import evaluate
from omnitrace.evaluation.labels.schema import Label, LabelledSpan
from omnitrace.evaluation.options import EvaluationOptions
from omnitrace.evaluation.report.export import to_document
from omnitrace.trace.trace import Trace
from tests.helpers.command_line import Run
from tests.helpers.sample_labels import label
from tests.helpers.sample_traces import multimodal_trace, text_trace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four traces."""
    folder = tmp_path / "traces"
    documents = ["One fact. Two facts. Three facts."]
    multimodal_trace().save(folder / "harbour.omnitrace")
    for number in range(3):
        answer = " ".join(["So it is."] * (number + 4))
        trace = text_trace(documents, "Which?", answer, seed=number)
        trace.save(folder / f"t{number}.omnitrace")
    return folder


def outcomes(folder: Path, **right: bool) -> Path:
    path = folder.parent / "outcomes.jsonl"
    lines = [json.dumps({"id": name, "right": value}) for name, value in right.items()]
    path.write_text("\n".join(lines))
    return path


def test_the_table_says_the_figures(run: Run, folder: Path) -> None:
    result = run("analyse", folder)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["trace", "steps"]
    assert [line.split()[0] for line in lines[1:5]] == ["harbour", "t0", "t1", "t2"]
    found = trajectory(multimodal_trace())
    assert f"{found.path_length:.3f}" in lines[1]
    assert f"{found.tortuosity:.3f}" in lines[1]
    assert found.mode is not None
    assert found.mode in lines[1]
    assert "masses say where the model looked" in result.stdout


def test_json_is_one_document(run: Run, folder: Path) -> None:
    result = run("analyse", folder, "--by", "tokens", "--window", "5", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["format"], document["version"]) == ("omnitrace-trajectories", 1)
    assert document["predictions"] == []
    config = TrajectoryConfig(by="tokens", window=5)
    assert document["config"] == dataclasses.asdict(config)
    expected = steps_of(multimodal_trace(), config)
    assert document["traces"][0]["id"] == "harbour"
    assert document["traces"][0]["steps"] == len(expected)
    assert document["traces"][0]["elapsed"] == expected.elapsed.tolist()
    assert "right" not in document["traces"][0]


def test_one_section(run: Run, tmp_path: Path) -> None:
    trace = multimodal_trace()
    first, *rest = trace.spans
    spans = (dataclasses.replace(first, section="thought"), *rest)
    path = dataclasses.replace(trace, spans=spans).save(tmp_path / "a.omnitrace")
    for section, count in (("thought", 1), ("answer", 4), ("all", 5)):
        result = run("analyse", path, "--section", section, "--json")
        assert json.loads(result.stdout)["traces"][0]["steps"] == count


def test_outcomes_add_how_early_failure_is_predicted(run: Run, folder: Path) -> None:
    path = outcomes(folder, harbour=True, t0=False, t1=True, absent=False)
    result = run("analyse", folder, "--by", "tokens", "--window", "2", "--outcomes", path)
    assert result.exit_code == 0, result.stderr
    assert "Failure predicted by elapsed share" in result.stdout
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert {"30%", "100%"} <= rows.keys()
    assert " wrong " in rows["t0"]
    for note in (
        "2 right and 1 wrong",
        "1 traces have no outcome and are left out of the AUC",
        "1 outcomes have no trace",
    ):
        assert note in result.stdout
    again = run("analyse", folder, "--outcomes", path, "--json")
    document = json.loads(again.stdout)
    assert [each["right"] for each in document["traces"]] == [True, False, True, None]
    whole = [each for each in document["predictions"] if each["elapsed"] == 1.0]
    assert {each["figure"] for each in whole} >= {"tortuosity", "path_length"}
    assert all(each["wrong"] + each["right"] + each["undefined"] == 3 for each in whole)


def test_outcomes_of_an_evaluation(run: Run, folder: Path, tmp_path: Path) -> None:
    traces = {"harbour": multimodal_trace(), "t0": Trace.load(folder / "t0.omnitrace")}
    no = LabelledSpan(start=0, end=10, text="It is not.", sources=())
    other = Label(version=1, id="t0", response=no.text, spans=(no,))
    found = evaluate(
        traces, [label("harbour"), other], options=EvaluationOptions(baselines=False, draws=10)
    )
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(to_document(found), allow_nan=False))
    result = run("analyse", folder, "--outcomes", path, "--json")
    assert result.exit_code == 0, result.stderr
    right = {each["id"]: each["right"] for each in json.loads(result.stdout)["traces"]}
    assert right == {"harbour": True, "t0": False, "t1": None, "t2": None}


@pytest.mark.parametrize("ending", ["png", "svg", "PDF"])
def test_a_plot_is_drawn(run: Run, folder: Path, tmp_path: Path, ending: str) -> None:
    path = outcomes(folder, harbour=True, t0=False)
    picture = tmp_path / "new" / f"plot.{ending}"
    result = run("analyse", folder, "--outcomes", path, "--plot", picture)
    assert result.exit_code == 0, result.stderr
    assert f"wrote {picture}" in result.stderr
    content = picture.read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "PDF": b"%PDF"}[ending])
    if ending == "svg":
        assert content.count(b'<g id="axes_') == 3


def test_without_matplotlib_the_plot_is_refused(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("analyse", folder, "--plot", tmp_path / "plot.png")
    assert result.exit_code == 2
    assert "omnitrace-attribution[plots]" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_mistakes(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for args, message in (
        ((tmp_path / "absent",), "there is no"),
        ((folder, "--window", "3"), "--window means nothing for spans"),
        ((folder, "--by", "tokens", "--window", "0"), "--window"),
        ((folder, "--section", "aside"), "--section"),
        ((folder, "--plot", tmp_path / "plot.xyz"), "ends in '.xyz'"),
        ((folder, "--plot", tmp_path / "file" / "plot.png"), "cannot write"),
        ((folder, "--outcomes", tmp_path / "absent.jsonl"), "cannot read"),
        ((folder, "--outcomes", outcomes(folder, x=True)), "has an outcome of none of the 4"),
    ):
        result = run("analyse", *args)
        assert result.exit_code == 2, (args, result.stderr)
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    result = run("analyse", folder, "--outcomes", outcomes(folder, t0=True, t1=True))
    assert result.exit_code == 2
    assert "all of 2 responses are right" in result.stderr
    result = run("analyse", folder, "--outcomes", outcomes(folder, **{"t 0": True, "t_0": False}))
    assert "are the same as file names" in result.stderr
