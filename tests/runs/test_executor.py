"""Requests in other processes give the folder that one process gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from omnitrace import Tracer
from omnitrace.errors import GivenUpError, InputError, RunError
from omnitrace.runs import (
    RequestFailed,
    RequestSaved,
    Run,
    asked_of,
    open_run,
    run_elsewhere,
    run_requests,
)
from omnitrace.sources import RequestEntry, RequestProblem
from omnitrace.trace.trace import Trace
from tests.helpers.executors import Death, InProcess, left
from tests.runs.conftest import request

OPTIONS = {"max_new_tokens": 2}
FACT = "The lamp weighs eight grams."
_LOADED: list[Tracer] = []


def loaded() -> Tracer:
    return _LOADED[0]


@pytest.fixture
def load(reference: Tracer) -> Any:
    _LOADED[:] = [reference.with_options(salience=None)]
    return loaded


def entries() -> list[Any]:
    question = {"type": "text", "text": "What does the lamp weigh?"}
    content = [{"type": "text", "text": FACT}, question]
    good = [RequestEntry(name, [{"role": "user", "content": content}], Path()) for name in "abc"]
    return [good[0], RequestProblem("p", InputError("no JSON")), *good[1:], request("empty", "")]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_folder_is_that_of_the_plain_loop(load: Any, tmp_path: Path, batch_size: int) -> None:
    asked = asked_of(load().setup, generation=OPTIONS)
    plain, spread = (open_run(tmp_path / name, asked) for name in ("plain", "spread"))
    options = {"batch_size": batch_size, **OPTIONS}
    expected = [*run_requests(load, entries(), plain, **options)]
    events = [*run_elsewhere(InProcess(), load, entries(), spread, **options)]
    assert _failed(events) == _failed(expected)
    saved = [each for each in events if isinstance(each, RequestSaved)]
    assert [each.entry.id for each in saved] == ["a", "b", "c"]
    for each in saved:
        folders = (tmp_path / "plain", tmp_path / "spread")
        one, other = (Trace.load(folder / Path(each.path).name) for folder in folders)
        assert one.spans == other.spans
    assert plain.summary().done == spread.summary().done == 3
    assert {each.id for each in spread.summary().failed} == {"p", "empty"}
    executor = InProcess()
    again = [*run_elsewhere(executor, load, entries()[:1], spread, **OPTIONS)]
    assert (again, executor.made) == ([], 0)


def _failed(events: list[Any]) -> dict[str, str]:
    return {each.entry.id: str(each.error) for each in events if isinstance(each, RequestFailed)}


def test_what_ends_its_process_is_given_up_and_the_others_are_done(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Tracer.trace

    def poisoned(self: Tracer, messages: Any, **options: Any) -> Any:
        if messages[0]["content"] == "poison":
            raise Death
        return trace(self, messages, **options)

    monkeypatch.setattr(Tracer, "trace", poisoned)
    monkeypatch.setattr(Run, "abandoned", left)
    executor = InProcess()
    run = open_run(tmp_path, asked_of(load().setup, generation=OPTIONS), attempts=2)
    many = [request("bad", "poison"), *entries()[2:4]]
    events = [*run_elsewhere(executor, load, many, run, **OPTIONS)]
    assert executor.made == 3
    (failed,) = (each for each in events if isinstance(each, RequestFailed))
    assert isinstance(failed.error, GivenUpError)
    assert failed.entry.id == "bad"
    assert {each.id for each in run.summary().given_up} == {"bad"}
    assert run.summary().done == 2


def test_leaving_takes_the_attempts_back(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that ended a process once, and was running when the run was stopped."""

    def interrupted(*_: Any, **__: Any) -> Any:
        raise Death

    monkeypatch.setattr(Tracer, "trace", interrupted)
    monkeypatch.setattr(Run, "abandoned", left)
    monkeypatch.setattr(InProcess, "map", _stopped)
    run = open_run(tmp_path, asked_of(load().setup, generation=OPTIONS))
    marker = tmp_path / "attempts" / "a"
    with pytest.raises(KeyboardInterrupt):
        [*run_elsewhere(InProcess(), load, entries()[:1], run, **OPTIONS)]
    assert not marker.exists()
    marker.parent.mkdir()
    marker.write_text("died\n")
    with pytest.raises(KeyboardInterrupt):
        [*run_elsewhere(InProcess(), load, entries()[:1], run, **OPTIONS)]
    assert marker.read_text() == "died\n"


def _stopped(executor: InProcess, make_worker: Any, items: Any) -> Any:
    worker = make_worker()
    for item in items:
        try:
            yield worker(item)
        except Death:
            raise KeyboardInterrupt from None


def test_a_defect_is_named_and_another_model_refused(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StrangeError(Exception):
        """Cannot be pickled: it is of a function's own."""

    def defect(*_: Any, **__: Any) -> Any:
        raise StrangeError("of somebody's model")

    asked = asked_of(load().setup, generation=OPTIONS)
    monkeypatch.setattr(Tracer, "trace", defect)
    run = open_run(tmp_path, asked)
    (event,) = run_elsewhere(InProcess(), load, entries()[:1], run, **OPTIONS)
    assert isinstance(event, RequestFailed)
    assert str(event.error) == "StrangeError: of somebody's model"
    assert "in defect" in event.error.__notes__[0]
    monkeypatch.setattr("omnitrace.ablation.cache.model_fingerprint", lambda _: "another")
    with pytest.raises(RunError, match="another model"):
        [*run_elsewhere(InProcess(), load, entries()[:1], open_run(tmp_path, asked), **OPTIONS)]
