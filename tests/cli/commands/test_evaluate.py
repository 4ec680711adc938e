"""``omnitrace evaluate``."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoConfig

from omnitrace import Tracer, builtin
from omnitrace.evaluation.labels.io import write_labels
from omnitrace.evaluation.labels.schema import Label, TextSource
from omnitrace.evaluation.report.results_file import read_evaluation
from omnitrace.plugins.hookspecs import RegisterSignal, hookimpl
from omnitrace.plugins.registry import build_registry
from tests.helpers.command_line import Run
from tests.helpers.embedding_models import sentence_encoder
from tests.helpers.leave_one_out import LeaveOneOut
from tests.helpers.sample_labels import span
from tests.helpers.sample_traces import text_trace


def test_evaluate(run: Run, traces: Path, labels: Path, tmp_path: Path) -> None:
    document, rows = tmp_path / "out.json", tmp_path / "out.csv"
    result = run(
        "evaluate", traces, "--labels", labels, "--json", document, "--csv", rows, "--seed", "3",
        "--html", tmp_path / "out.html",
    )  # fmt: skip
    assert (tmp_path / "out.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["method", "group", "count", "F1"]
    assert lines[1].startswith("trace")
    assert "0.85 [0.85, 0.85]" in lines[1]
    assert any(line.startswith("position") for line in lines)
    assert "10 labelled spans and 2 words in 2 examples; signal: attention-mean" in lines
    made = json.loads(document.read_text("utf-8"))
    assert made["counts"]["examples"] == 2
    assert len(list(csv.DictReader(rows.open()))) == len(made["rows"])
    assert f"wrote {document}" in result.stderr


def test_without_baselines(run: Run, traces: Path, labels: Path) -> None:
    result = run("evaluate", traces / "b", "--labels", labels, "--no-baselines")
    assert result.exit_code == 0
    assert "random" not in result.stdout
    assert "1 labels have no trace: a/1" in result.stdout


def test_second_labels(run: Run, traces: Path, labels: Path, wrong: Path) -> None:
    result = run("evaluate", traces, "--labels", labels, "--second-labels", labels)
    assert result.exit_code == 0, result.stderr
    human = [line.split() for line in result.stdout.splitlines() if line.startswith("human")]
    assert human[0][1:4] == ["spans", "10", "1.00"]
    refused = run("evaluate", traces, "--labels", labels, "--second-labels", wrong)
    assert refused.exit_code == 2
    assert f"{wrong}, line 2, spans[0].sources[0].end" in refused.stderr


def test_an_embedder_of_the_users(run: Run, traces: Path, labels: Path, tmp_path: Path) -> None:
    folder = sentence_encoder(tmp_path / "encoder", "bert")
    document = tmp_path / "out.json"
    result = run(
        *("evaluate", traces, "--labels", labels, "--embedder", folder, "--json", document),
    )
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[1:3] for line in lines if line.startswith("embedder  ")] == [
        ["spans", "10"], ["words", "2"],
    ]  # fmt: skip
    assert "have no score: 24 of image, 12 of audio, 8 of video" in result.stdout
    assert json.loads(document.read_text("utf-8"))["embedder"] == str(folder)
    assert read_evaluation(document).signals == ("attention-mean",)
    wrong = run("evaluate", traces, "--labels", labels, "--embedder", tmp_path / "nowhere")
    assert wrong.exit_code == 2
    assert "there is no folder of an embedder" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_chosen_metrics(run: Run, traces: Path, labels: Path) -> None:
    result = run("evaluate", traces, "--labels", labels, "--metrics", "precision, micro_f1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].split() == [
        "method", "group", "count", "precision", "micro", "F1",
    ]  # fmt: skip
    wrong = run("evaluate", traces, "--labels", labels, "--metrics", "presision")
    assert wrong.exit_code == 2
    assert "did you mean 'precision'" in wrong.stderr


def test_a_model_is_asked(run: Run, traces: Path, labels: Path, model: str, tmp_path: Path) -> None:
    trace = text_trace(["The lamp is red."], "What is red?", "The lamp is red.")
    path = trace.save(tmp_path / "lamp.omnitrace")
    text = "The lamp is red."
    spans = (span(text, [TextSource(message=0, part=0, quote=text)], text),)
    made = Label(version=1, id="lamp", response=text, spans=spans)
    of_text = write_labels(tmp_path / "lamp.jsonl", [made])
    # Without training it might never end its reply: let any token end it.
    terse = shutil.copytree(model, tmp_path / "terse")
    generation = terse / "generation_config.json"
    settings = json.loads(generation.read_text("utf-8"))
    vocabulary = AutoConfig.from_pretrained(terse).get_text_config(decoder=True).vocab_size
    settings["eos_token_id"] = list(range(vocabulary))
    generation.write_text(json.dumps(settings), encoding="utf-8")
    result = run("evaluate", path, "--labels", of_text, "--no-baselines", "--ask-model", terse)
    assert result.exit_code == 0, result.stderr
    (asked,) = [line.split() for line in result.stdout.splitlines() if line.startswith("self")]
    assert asked[1:4] == ["spans", "1", "0.00"]
    assert "1 replies about a sentence could not be read" in result.stdout
    refused = run("evaluate", traces, "--labels", labels, "--ask-model", terse)
    assert refused.exit_code == 2
    assert "is not in the trace" in refused.stderr
    assert "trace with --media" in refused.stderr


SENTENCE = "The lamp weighs ten grams."
TEXTS = [
    {"type": "text", "text": f"{SENTENCE} The cup weighs nine grams. Rain fell on the roof."},
    {"type": "text", "text": "What does the lamp weigh?"},
]
MESSAGES = [{"role": "user", "content": TEXTS}]


def lamp_labels(path: Path, *names: str) -> Path:
    spans = (span(SENTENCE, [TextSource(message=0, part=0, quote=SENTENCE)], SENTENCE),)
    return write_labels(
        path, [Label(version=1, id=name, response=SENTENCE, spans=spans) for name in names]
    )


def test_labelled_answers_of_requests_are_attributed_by_signals(
    run: Run, model: str, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    requests = write_lines(
        *({"id": name, "messages": MESSAGES} for name in ("one", "two", "new")), "{no json"
    )
    labels = lamp_labels(tmp_path / "labels.jsonl", "one", "two")
    result = run(
        *("evaluate", requests, "--labels", labels, "--model", model, "--metrics", "f1,auprc"),
        *("--signals", "attention-mean, attention-last", "--json", tmp_path / "out.json"),
    )
    assert result.exit_code == 2  # one entry is no request; the others are evaluated all the same
    assert result.stderr.count("is not JSON") == 2
    assert "1 requests have no label: new" in result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("attention")] == [
        "attention-mean", "attention-last",
    ]  # fmt: skip
    assert sum(line.startswith("2 labelled spans") for line in lines) == 2
    assert sum(line.startswith("embedding ") for line in lines) == 2
    assert not any("B − A" in line for line in lines)  # noqa: RUF001
    files = [tmp_path / f"out.attention-{name}.json" for name in ("mean", "last")]
    assert [json.loads(file.read_text("utf-8"))["signals"] for file in files] == [
        ["attention-mean"], ["attention-last"],
    ]  # fmt: skip
    compared = run("compare", *files)
    assert compared.exit_code == 0, compared.stderr
    assert "signal: attention-last" in compared.stdout


def test_answers_of_traces_are_attributed_again(run: Run, model: str, tmp_path: Path) -> None:
    tracer = Tracer.from_pretrained(model, signal="attention-last")
    path = tracer.replay(MESSAGES, SENTENCE).save(tmp_path / "lamp.omnitrace")
    labels = lamp_labels(tmp_path / "labels.jsonl", "lamp")
    common = ("evaluate", path, "--labels", labels, "--json", tmp_path / "out.json", "--model")
    result = run(*common, model, "--signals", "attention-mean")
    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert found["signals"] == ["attention-mean"]
    expected = tracer.with_options(signal="attention-mean").replay(MESSAGES, SENTENCE)
    chosen = {support.unit for support in expected.spans[0].supports}
    assert found["rows"][0]["chosen_units"] == len(chosen)
    both = run(*common, model, "--signals", "attention-mean,attention-last")
    assert both.exit_code == 0, both.stderr
    lines = both.stdout.splitlines()
    assert "A: attention-mean, B: attention-last" in lines
    assert sum("B − A" in line for line in lines) == 1  # noqa: RUF001
    # The trace's own signal gives what the trace holds.
    again = read_evaluation(tmp_path / "out.attention-last.json")
    alone = run("evaluate", path, "--labels", labels, "--json", tmp_path / "alone.json")
    assert alone.exit_code == 0
    saved = read_evaluation(tmp_path / "alone.json")
    (new,), (old,) = (
        [row for row in file.rows if row.method == "trace"] for file in (again, saved)
    )
    assert new.counts == old.counts
    assert new.grounding == pytest.approx(old.grounding)
    assert {name: new.values[name] for name in old.values} == pytest.approx(old.values)


class Installed:
    @hookimpl
    def register_signals(self, register: RegisterSignal) -> None:
        register("leave-one-out", LeaveOneOut, summary="the drop without each unit")


def test_no_signal_is_evaluated_by_masks_that_it_measured(
    run: Run,
    model: str,
    write_lines: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = build_registry({"omnitrace": builtin, "mine": Installed()})
    for module in ("omnitrace.signals.resolution", "omnitrace.evaluation.run"):
        monkeypatch.setattr(f"{module}.registry", lambda: made)
    requests = write_lines({"id": "one", "messages": MESSAGES})
    labels = lamp_labels(tmp_path / "labels.jsonl", "one")
    result = run(
        *("evaluate", requests, "--labels", labels, "--model", model, "--json", tmp_path / "out"),
        *("--signals", "leave-one-out", "--metrics", "top-1-drop,sufficiency-1"),
    )
    assert result.exit_code == 0, result.stderr
    assert "measuring effects takes up to" in result.stderr
    rows = {row.method: row for row in read_evaluation(tmp_path / "out").rows if row.word is None}
    assert rows["trace"].values["top-1-drop"] is None
    assert rows["trace"].values["sufficiency-1"] is not None
    assert rows["longest"].values["top-1-drop"] is not None
    assert "spans of 'trace' without a value: top-1-drop 1" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no model is named"),
        (("--signals", "attention-men", "--model", "/nowhere"), "did you mean 'attention-mean'"),
        (("--signals", ",", "--model", "/nowhere"), "no signal is named"),
    ],
)
def test_signals_need_a_model_and_a_name(
    run: Run,
    write_lines: Callable[..., Path],
    labels: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    requests = write_lines({"id": "a/1", "messages": MESSAGES})
    result = run("evaluate", requests, "--labels", labels, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_wrong_labels_are_told_line_by_line(run: Run, traces: Path, wrong: Path) -> None:
    result = run("evaluate", traces, "--labels", wrong)
    assert result.exit_code == 2
    assert not result.stdout
    told = [line for line in result.stderr.splitlines() if str(wrong) in line]
    assert f"{wrong}, line 3, id: this field is required" in told[0]
    assert told[-1].endswith(
        "line 2, spans[0].sources[0].end: 99 s is beyond the end of the audio, which lasts 12 s"
    )


def test_skip_invalid(run: Run, traces: Path, wrong: Path) -> None:
    result = run("evaluate", traces, "--labels", wrong, "--skip-invalid")
    assert result.exit_code == 0
    assert "5 labelled spans and 1 words in 1 examples" in result.stdout
    assert "mistakes in the labels; their lines are left out" in result.stdout
    assert "line 2, spans[0].sources[0].end" in result.stderr


def test_a_broken_trace_is_the_users_mistake(run: Run, labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.omnitrace"
    path.write_bytes(b"no zip")
    result = run("evaluate", path, "--labels", labels)
    assert result.exit_code == 2
    assert str(path) in result.stderr
