"""Evaluations of files by the library alone: what the command line does, for Python users."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omnitrace import InputError, PluginError, Tracer
from omnitrace.evaluation import (
    EvaluationModels,
    EvaluationOptions,
    LabelError,
    RunCallbacks,
    evaluate,
    evaluate_files,
    file_of,
    write_labels,
)
from omnitrace.evaluation.labels.schema import Label, TextSource, TimeSource
from omnitrace.evaluation.report.compare import compare
from tests.helpers.known_evidence import ANSWER, MESSAGES
from tests.helpers.sample_labels import label, span
from tests.helpers.sample_traces import multimodal_trace

OPTIONS = EvaluationOptions(draws=10)
SIGNALS = ("attention-mean", "attention-last")


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    multimodal_trace().save(folder / "a_1.omnitrace")
    multimodal_trace().save(folder / "b.omnitrace")
    return folder


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    """Two requests of which one has a label, and a line that is no request."""
    path = tmp_path / "requests.jsonl"
    lines = [json.dumps({"id": name, "messages": MESSAGES}) for name in ("weights", "new")]
    path.write_text("\n".join([*lines, "{no json"]), encoding="utf-8")
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A label of the request "weights": its first sentence rests on the text."""
    sentence = ANSWER.split(".")[0] + "."
    source = TextSource(message=0, part=0, quote=sentence)
    spans = (span(sentence, [source], ANSWER),)
    made = Label(version=1, id="weights", response=ANSWER, spans=spans)
    return write_labels(tmp_path / "weights.jsonl", [made])


def test_traces_as_they_are_need_no_model(traces: Path, tmp_path: Path) -> None:
    path = write_labels(tmp_path / "labels.jsonl", [label("a/1"), label("b")])
    shown: list[str] = []
    found = evaluate_files(
        [traces], path, options=OPTIONS, callbacks=RunCallbacks(progress=shown.append)
    )
    assert (found.failures, found.unlabelled) == ((), ())
    same = {"a/1": multimodal_trace(), "b": multimodal_trace()}
    expected = evaluate(same, [label("a/1"), label("b")], options=OPTIONS)
    assert [each.rows for each in found.evaluations] == [expected.rows]
    assert shown == ["a_1 (1 of 2)", "b (2 of 2)", "computing intervals"]


def test_mistakes_in_labels_are_listed(traces: Path, tmp_path: Path) -> None:
    late = span("A fog horn", [TimeSource(message=0, part=2, start=1, end=99)])
    path = write_labels(tmp_path / "labels.jsonl", [label("a/1"), label("b", [late])])
    with pytest.raises(LabelError) as error:
        evaluate_files([traces], path)
    assert [problem.line for problem in error.value.problems] == [2]
    skipping = EvaluationOptions(draws=10, skip_invalid=True)
    (found,) = evaluate_files([traces], path, options=skipping).evaluations
    assert found.counts.examples == 1


def test_a_second_annotator(traces: Path, tmp_path: Path) -> None:
    path = write_labels(tmp_path / "labels.jsonl", [label("a/1"), label("b")])
    (found,) = evaluate_files([traces], path, second_labels=path, options=OPTIONS).evaluations
    assert found.figure("f1", "human").value == 1


def test_responses_are_attributed_again_by_every_signal(
    reference: Tracer, requests: Path, labels: Path
) -> None:
    failed: list[str] = []
    found = evaluate_files(
        [requests],
        labels,
        signals=[*SIGNALS, SIGNALS[0]],
        models=EvaluationModels(traced=reference),
        options=EvaluationOptions(metrics=["f1", "auprc"], draws=10),
        callbacks=RunCallbacks(failed=lambda failure: failed.append(failure.example)),
    )
    assert [each.signals for each in found.evaluations] == [(name,) for name in SIGNALS]
    assert [failure.signal for failure in found.failures] == list(SIGNALS)
    assert [failure.example for failure in found.failures] == failed
    assert all("is not JSON" in failure.reason for failure in found.failures)
    assert found.unlabelled == ("new",)
    first, second = (file_of(each, each.signals[0]) for each in found.evaluations)
    assert {each.metric for each in compare(first, second, draws=10)} >= {"f1", "auprc"}


def test_a_model_that_two_options_name_is_loaded_once(
    reference: Tracer, requests: Path, labels: Path
) -> None:
    loaded: list[tuple[str, str | None]] = []

    def load(name: str, device: str | None) -> Tracer:
        loaded.append((name, device))
        return reference

    options = EvaluationOptions(metrics=["f1"], baselines=False, draws=10)
    models = EvaluationModels(traced="one", asked="one", device="cpu", load=load)
    (found,) = evaluate_files([requests], labels, models=models, options=options).evaluations
    assert loaded == [("one", "cpu")]
    assert found.figure("f1", "self").count == 1


def test_what_needs_a_model_says_so(requests: Path, labels: Path) -> None:
    with pytest.raises(InputError, match="no model is named"):
        evaluate_files([requests], labels)
    with pytest.raises(InputError, match="no signal is named"):
        evaluate_files([requests], labels, signals=[])
    with pytest.raises(PluginError, match="did you mean 'attention-mean'"):
        evaluate_files([requests], labels, signals=["attention-men"])
