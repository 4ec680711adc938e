"""``omnitrace reference sample``: a held-out request as files, to try things with."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from omnitrace.cli.commands.reference import draw_held_out
from omnitrace.evaluation.labels.io import read_labels
from omnitrace.reference.scenes import Audio, Video
from omnitrace.reference.world import held_out_seed, make_sample, validation_seed
from omnitrace.sources.request_files import RequestEntry, read_requests
from tests.helpers.command_line import Run


def test_a_sample_is_written_traced_and_evaluated(run: Run, model: str, tmp_path: Path) -> None:
    out = tmp_path / "a folder"
    result = run("reference", "sample", "--seed", "3", "--questions", "1", "--out", out)
    assert result.exit_code == 0, result.stderr
    (request,) = read_requests(out / "request.json")
    (label,) = read_labels(out / "labels.jsonl")
    assert isinstance(request, RequestEntry)
    drawn = make_sample(held_out_seed(3), questions=1)
    assert request.messages == drawn.messages
    assert request.id == label.id == drawn.id
    assert label.response == drawn.answer
    for file in out.iterdir():
        assert file.name in result.stderr
    assert drawn.question in result.stdout
    trace, evaluate = (
        shlex.split(line)[1:]
        for line in result.stdout.splitlines()
        if line.startswith("omnitrace ")
    )
    done = run(*trace, "--model", model, "--max-new-tokens", "4")
    assert done.exit_code == 0, done.stderr
    done = run(*evaluate)
    assert done.exit_code == 0, done.stderr
    assert "1 labelled spans" in done.stdout
    done = run("label", "check", out / "labels.jsonl", out / "traces")
    assert done.exit_code == 0, done.stderr


def test_samples_of_the_aligned_world_are_written(run: Run, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    result = run("reference", "sample", "--seed", "4", "--aligned", "--out", one)
    assert result.exit_code == 0, result.stderr
    result = run("reference", "samples", "--count", "2", "--aligned", "--out", many)
    assert result.exit_code == 0, result.stderr
    (request,) = read_requests(one / "request.json")
    drawn = [make_sample(held_out_seed(number), aligned=True) for number in (4, 0, 1)]
    known = [*read_labels(one / "labels.jsonl"), *read_labels(many / "labels.jsonl")]
    assert [each.id for each in known] == [each.id for each in drawn]
    assert [each.response for each in known] == [each.answer for each in drawn]
    assert request.messages == drawn[0].messages


def test_many_samples_are_written_and_traced(run: Run, model: str, tmp_path: Path) -> None:
    out = tmp_path / "many"
    result = run(
        "reference", "samples", "--count", "2", "--first", "5", "--validation", "--out", out
    )
    assert result.exit_code == 0, result.stderr
    drawn = [make_sample(validation_seed(number)) for number in (5, 6)]
    requests, known = read_requests(out / "requests.jsonl"), read_labels(out / "labels.jsonl")
    assert [each.id for each in requests] == [each.id for each in known] == [d.id for d in drawn]
    assert [each.response for each in known] == [each.answer for each in drawn]
    traced = run("trace", out / "requests.jsonl", "--model", model, "--max-new-tokens", "4")
    assert traced.exit_code == 0, traced.stderr  # so every medium is where its request says
    again = run("reference", "samples", "--count", "2", "--out", out)
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_samples_of_several_steps_are_for_the_model_that_thinks(run: Run, tmp_path: Path) -> None:
    result = run("reference", "sample", "--thinking", "--seed", "3", "--out", tmp_path / "one")
    assert result.exit_code == 0, result.stderr
    assert "--model reference-thinking" in result.stdout
    (label,) = read_labels(tmp_path / "one" / "labels.jsonl")
    drawn = make_sample(held_out_seed(3), thinking=True)
    assert label.response == drawn.answer
    assert label.response.startswith("<think> ")
    many = run("reference", "samples", "--thinking", "--count", "2", "--out", tmp_path / "many")
    assert many.exit_code == 0, many.stderr
    known = read_labels(tmp_path / "many" / "labels.jsonl")
    samples = [make_sample(held_out_seed(number), thinking=True) for number in (0, 1)]
    assert [each.response for each in known] == [each.answer for each in samples]


def test_samples_are_those_of_the_world() -> None:
    for seed in range(20):
        assert draw_held_out(seed, questions=None, long=False) == make_sample(held_out_seed(seed))
        asked = draw_held_out(seed, questions=2, long=False)
        assert asked == make_sample(held_out_seed(seed), questions=2)


def test_a_long_sample_has_something_long() -> None:
    lasts = []
    for seed in range(60):
        sample = draw_held_out(seed, questions=None, long=True)
        timed = [scene for scene in sample.scenes if isinstance(scene, Audio | Video)]
        assert timed
        lasts.append(max(scene.seconds for scene in timed))
        assert sample.seed == held_out_seed(seed)
    assert sum(seconds > 20 for seconds in lasts) > 40


@pytest.mark.parametrize("name", ["request.json", "labels.jsonl"])
def test_what_is_there_is_not_lost(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    result = run("reference", "sample", "--out", tmp_path)
    assert result.exit_code == 2
    assert f"{name}' exists. Fix: choose another folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    result = run("reference", "sample", "--out", file / "folder")
    assert result.exit_code == 2
    assert "cannot make the folder" in result.stderr


@pytest.mark.parametrize(
    "options", [["--seed", "-1"], ["--questions", "0"], ["--seed", "one"], ["--short"]]
)
def test_options_that_are_none(run: Run, tmp_path: Path, options: list[str]) -> None:
    result = run("reference", "sample", "--out", tmp_path / "new", *options)
    assert result.exit_code == 2
    assert not (tmp_path / "new").exists()


def test_the_group_says_what_it_is_for(run: Run) -> None:
    result = run("reference", "--help")
    assert result.exit_code == 0
    assert "whose evidence is known" in result.stdout
    assert "sample" in result.stdout
