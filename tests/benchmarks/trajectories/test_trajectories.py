"""The benchmark of trajectories: what is done to the evidence, what counts as right, the table."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cache import Kept
from common.report import BenchmarkError
from omnitrace import Tracer
from omnitrace.analysis import Steps, predict_failure
from omnitrace.reference.render import render_audio, render_image, render_video
from omnitrace.reference.scenes import Audio, Image, Video
from omnitrace.reference.words import UNKNOWN
from trajectories import benchmark as trajectories
from trajectories.samples import CONDITIONS, Asked, draw_asked, is_right, weakened


@pytest.fixture(scope="module")
def asked() -> list[Asked]:
    return draw_asked(9, 3, validation=True)


def test_samples_are_seeded_and_of_one_length(asked: list[Asked]) -> None:
    assert draw_asked(9, 3, validation=True) == asked
    assert [each.condition for each in asked] == [*CONDITIONS] * 3
    assert {len(each.sample.statements) for each in asked} == {3}
    assert {each.sample.seed for each in asked}.isdisjoint(
        each.sample.seed for each in draw_asked(9, 3, validation=False)
    )
    for each in asked:
        assert not any(each.removed) or each.condition == CONDITIONS[2]
    assert any(any(each.removed) for each in asked)


def test_weak_evidence_stands_out_less(asked: list[Asked]) -> None:
    for each in asked:
        if each.condition != CONDITIONS[0]:
            continue
        assert weakened(each.sample, 0.0) == each.sample
        weak = weakened(each.sample, 0.9)
        assert weak.statements == each.sample.statements
        for before, after in zip(each.sample.scenes, weak.scenes, strict=True):
            assert _spread(after) < _spread(before) or before == after


def _spread(scene: Any) -> float:
    if isinstance(scene, Image):
        return float(render_image(scene).std())
    if isinstance(scene, Audio):
        return float(render_audio(scene).std())
    if isinstance(scene, Video):
        return float(render_video(scene, fps=2).std())
    return 0.0


def test_an_honest_answer_is_right_where_the_evidence_is_gone(asked: list[Asked]) -> None:
    removed = next(each for each in asked if any(each.removed))
    whole = dataclasses.replace(removed, removed=(False,) * 3)
    told = removed.sample.answer
    assert is_right(removed, told)
    assert is_right(whole, told)
    sentences = [statement.text for statement in removed.sample.statements]
    gone = removed.removed.index(True)
    value = removed.sample.statements[gone].value
    head, _, tail = sentences[gone].rpartition(value)
    sentences[gone] = f"{head}{UNKNOWN}{tail}"
    assert is_right(removed, " ".join(sentences))
    assert is_right(whole, " ".join(sentences)) == (value == UNKNOWN)
    assert not is_right(removed, "")


def test_questions_of_several_steps_are_judged_by_their_answers() -> None:
    drawn = draw_asked(6, 2, validation=True, thinking=True)
    assert [each.condition for each in drawn] == [*CONDITIONS[:2]] * 3
    assert not any(any(each.removed) for each in drawn)
    for each in drawn:
        assert each.sample.question.count("?") == 2
        _, said = each.sample.answer.split("</think> ")
        assert is_right(each, said)
        first, second = [s.text for s in each.sample.statements if s.section == "answer"]
        assert is_right(each, f"{second} {first}") == (first == second)
        assert not is_right(each, first)


def test_thinking_is_a_benchmark_of_its_own() -> None:
    given = trajectories.parse(["--quick", "--draws", "20", "--thinking"])
    assert (given.model, given.questions) == ("reference-thinking", 3)
    found = collected()
    predictions = {
        kind: predict_failure(steps, found.right, draws=20) for kind, steps in found.steps.items()
    }
    result = trajectories.result_of(given, found, predictions)
    assert result.settings["thinking"]
    assert "several steps" in result.title
    assert not [row for row in result.table.rows if row[0].endswith(CONDITIONS[2])]
    assert any("thoughts among them" in note for note in result.notes)


def collected(count: int = 12) -> trajectories.Collected:
    rng = np.random.default_rng(0)
    found = trajectories.Collected(sources={"masses"})
    for i in range(count):
        for kind, length in (
            ("spans", 4),
            ("tokens", 40),
            ("windows of 2 tokens", 20),
            ("windows of 4 tokens", 10),
        ):
            vectors = rng.dirichlet(np.ones(5), size=length)
            elapsed = np.arange(1, length + 1) / length
            made = Steps("masses", tuple("abcde"), vectors, elapsed)
            found.steps.setdefault(kind, []).append(made)
        found.right.append(i % 2 == 0)
        found.conditions.append(CONDITIONS[0] if i < 9 else CONDITIONS[1])
        found.tokens.append(40)
        found.groundings.append(0.5 + 0.1 * (i % 2 == 0))
    return found


def test_the_table_has_every_figure_and_its_controls() -> None:
    given = trajectories.parse(["--quick", "--draws", "20"])
    found = collected()
    predictions = {
        kind: predict_failure(steps, found.right, draws=20) for kind, steps in found.steps.items()
    }
    result = trajectories.result_of(given, found, predictions)
    assert {row[0] for row in result.table.rows if row[1] == "tortuosity"} >= set(found.steps)
    main = next(row for row in result.table.rows if row[:2] == [given.main, "tortuosity"])
    early = next(
        each
        for each in predictions[given.main]
        if (each.figure, each.elapsed) == ("tortuosity", 0.3)
    )
    assert main[2:4] == [early.auc.text(), "12"]
    spans = next(row for row in result.table.rows if row[:2] == ["spans", "tortuosity"])
    assert spans[2:4] == ["–", "0"]  # noqa: RUF001 - one span has ended
    controls = result.values["controls"]
    assert controls["length of the response"]["value"] == 0.5
    assert controls["little grounding in the first 30%"]["value"] == 1.0
    assert result.values["right"] == result.values["wrong"] == 6
    assert result.values["by condition"][CONDITIONS[1]] == {"responses": 3, "right": 1}
    assert any("4.0 sentences and 40 tokens" in note for note in result.notes)
    rows = [row for row in result.table.rows if row[0].endswith(CONDITIONS[2])]
    assert rows[0][2:4] == ["–", "0"]  # noqa: RUF001


def test_answers_that_are_all_wrong_are_no_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    found = collected()
    found.right = [False] * len(found.right)
    monkeypatch.setattr(trajectories, "collect", lambda given: found)
    with pytest.raises(BenchmarkError, match="all of 12 responses are wrong"):
        trajectories.measure(trajectories.parse(["--quick"]))


def test_a_real_answer_is_kept_and_taken_in(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (each,) = draw_asked(1, 2, validation=True)
    found = trajectories.Collected()
    kept, about = Kept(tmp_path), trajectories.what_traces(reference, "attention-mean")
    trace = trajectories.answer(reference, each, kept, about)
    trajectories.add(found, each, trace)
    other = trajectories.Collected()
    with monkeypatch.context() as patched:
        patched.delattr(type(reference), "trace")  # whoever asks the model fails
        trajectories.add(other, each, trajectories.answer(reference, each, kept, about))
        with pytest.raises(AttributeError):
            trajectories.answer(reference, each, kept, about | {"signal": "grad-sam"})
    assert other.groundings == found.groundings
    for kind, steps in found.steps.items():
        np.testing.assert_array_equal(other.steps[kind][0].vectors, steps[0].vectors)
    assert len(found.right) + found.unsaid == 1
    if found.right:
        assert set(found.steps) == {"spans", *map(trajectories._windows, trajectories.WINDOWS)}
        assert found.tokens == [len(trace.tokens)]


@pytest.mark.parametrize("args", [["--samples", "1"], ["--validation", "--json", "x.json"]])
def test_bad_arguments(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        trajectories.parse(args)
    assert "error:" in capsys.readouterr().err


def test_the_parent_finds_what_a_worker_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = trajectories.parse(["--samples", "2", "--validation", "--cache", str(tmp_path)])
    given = pickle.loads(pickle.dumps(given))
    asked = draw_asked(2, 1, validation=True, thinking=False)
    answered = trajectories.answering(given)
    for each in asked:
        assert trajectories.keep(answered, pickle.loads(pickle.dumps(each))) is None
    with monkeypatch.context() as patched:
        patched.delattr(Tracer, "trace")  # whoever asks the model fails
        again = [trajectories.answering(given)(each) for each in asked]
    assert len(again) == 2
