"""``--on``: the same results from other processes, and what is said without any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnitrace import Tracer
from omnitrace.estimator import load
from omnitrace.plugins.registry import Entry, registry
from omnitrace.runs import Run as RunFolder
from tests.helpers.command_line import Run
from tests.helpers.executors import Death, InProcess, left
from tests.helpers.text_adapters import text_adapter

Lines = Callable[..., Path]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Register the executor "here", and return what it is asked for."""
    found: list[dict[str, Any]] = []

    def make(**options: Any) -> InProcess:
        found.append(options)
        return InProcess()

    monkeypatch.setitem(registry().executors, "here", Entry("here", make, "", "tests"))
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny untrained text model."""
    adapter = text_adapter()
    folder = tmp_path_factory.mktemp("small")
    adapter.model.save_pretrained(folder)
    adapter.tokenizer.save_pretrained(folder)
    return str(folder)


def entry(name: str) -> dict[str, Any]:
    note = f"The lamp {name} weighs two grams. The cup weighs nine grams. Rain fell. It froze."
    texts = [{"type": "text", "text": each} for each in (note, "What does the lamp weigh?")]
    response = "The lamp weighs ten grams. The cup is lighter."
    return {"id": name, "messages": [{"role": "user", "content": texts}], "response": response}


def test_the_folder_and_what_is_printed_are_the_same(
    run: Run, small: str, write_lines: Lines, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    path = write_lines(entry("a"), {"id": "bad"}, entry("b"))
    command = ("trace", path, "--model", small, "--signal", "attention-mean", "--out")
    plain = run(*command, tmp_path / "plain")
    where = ("--on", "here", "--actors", "3", "--gpus-per-actor", "0.5")
    spread = run(*command, tmp_path / "spread", *where)
    assert asked == [{"actors": 3, "gpus": 0.5}]
    assert plain.exit_code == spread.exit_code == 2
    assert spread.stdout == plain.stdout
    assert spread.stderr == plain.stderr.replace("plain", "spread")
    names = ["a.omnitrace", "b.omnitrace", "failures.jsonl", "run.json"]
    for folder in ("plain", "spread"):
        assert sorted(each.name for each in (tmp_path / folder).iterdir()) == names
    # Begun there, it goes on here.
    again = run(*command, tmp_path / "spread", "--json")
    assert "2 of 3 traces were in" in again.stderr
    assert [json.loads(line)["id"] for line in again.stdout.splitlines()] == ["bad"]


def test_a_request_that_ends_its_process_is_named(
    run: Run,
    small: str,
    write_lines: Lines,
    tmp_path: Path,
    asked: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay = Tracer.replay

    def poisoned(self: Tracer, messages: Any, *args: Any, **options: Any) -> Any:
        if "poison" in str(messages):
            raise Death
        return replay(self, messages, *args, **options)

    monkeypatch.setattr(Tracer, "replay", poisoned)
    monkeypatch.setattr(RunFolder, "abandoned", left)
    path = write_lines(entry("a"), entry("poison"), entry("b"))
    command = ("trace", path, "--model", small, "--signal", "attention-mean", "--json")
    result = run(*command, "--out", tmp_path / "out", "--on", "here", "--attempts", "1")
    assert result.exit_code == 1
    assert "1 of 3 requests were given up: poison" in result.stderr
    found = {each["id"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert "given up" in found["poison"]["error"]
    assert found["a"]["spans"]
    assert found["b"]["spans"]


def test_an_estimator_learns_the_same(
    run: Run, small: str, write_lines: Lines, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    path = write_lines(*(entry(name) for name in "abc"))
    few = ("--masks", "4", "--evaluation-masks", "4", "--max-new-tokens", "6")
    command = ("estimator", "train", "--model", small, "--requests", path, *few, "--out")
    plain = run(*command, tmp_path / "plain.safetensors")
    spread = run(*command, tmp_path / "spread.safetensors", "--on", "here")
    assert (plain.exit_code, spread.exit_code) == (0, 0), spread.stderr
    one, other = (load(tmp_path / f"{name}.safetensors") for name in ("plain", "spread"))
    assert one.fitted.weights.tobytes() == other.fitted.weights.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--on", "ray", "--out", "out"), "'ray' is not installed"),
        (("--on", "here"), "--on here has no folder to write to"),
        (("--actors", "2"), "--actors means nothing without --on"),
        (("--gpus-per-actor", "1"), "--gpus-per-actor means nothing without --on"),
    ],
)
def test_what_is_said_without_an_executor(
    run: Run,
    tmp_path: Path,
    asked: list[dict[str, Any]],
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(registry().executors, "ray", raising=False)
    result = run("trace", "--ask", "What?", "--text", "A cup.", *options)
    assert result.exit_code == 2
    assert message in result.stderr
