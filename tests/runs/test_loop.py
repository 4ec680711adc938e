"""Requests one after the other, with a real model: what is yielded, kept, and found again."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from omnitrace import Tracer
from omnitrace.errors import InputError
from omnitrace.runs import (
    RequestDone,
    RequestEvent,
    RequestFailed,
    RequestStarted,
    RunEvent,
    asked_of,
    open_run,
    run_requests,
)
from omnitrace.sources import RequestProblem
from omnitrace.trace.trace import Trace
from tests.runs.conftest import die, request

OPTIONS = {"max_new_tokens": 3}
FACT = "The lamp weighs eight grams. What is it?"


def test_good_requests_are_kept_and_bad_ones_named(reference: Tracer, tmp_path: Path) -> None:
    asked = asked_of(reference.setup, generation=OPTIONS)
    entries = [
        request("a", FACT),
        RequestProblem("b", InputError("no JSON")),
        request("c", FACT, response="eight grams"),
        request("d", ""),
    ]
    events = [*run_requests(reference, entries, open_run(tmp_path, asked), **OPTIONS)]
    ends = [each for each in events if isinstance(each, RequestDone | RequestFailed)]
    assert [(type(each), each.entry.id) for each in ends] == [
        *((RequestDone, "a"), (RequestFailed, "b"), (RequestDone, "c"), (RequestFailed, "d"))
    ]
    assert isinstance(events[0], RequestStarted)
    for each in ends:
        if isinstance(each, RequestDone):
            assert Trace.load(Path(str(each.path))).to_dict() == each.trace.to_dict()
    assert ends[2].trace.text.split() == ["eight", "grams"]

    def not_again() -> Tracer:
        raise AssertionError("nothing is left that needs the model")

    run = open_run(tmp_path, asked)
    assert [*run_requests(not_again, entries[::2], run, **OPTIONS)] == []
    assert run.summary().done == 2


def test_batches_keep_and_name_the_same(reference: Tracer, tmp_path: Path) -> None:
    asked = asked_of(reference.setup, generation=OPTIONS)
    entries = [
        request("a", FACT),
        request("b", ""),
        request("c", FACT, response="eight grams"),
        RequestProblem("d", InputError("no JSON")),
        request("e", f"{FACT} The cup is red."),
        request("f", FACT),
    ]
    run = open_run(tmp_path, asked)
    events = [*run_requests(reference, entries, run, batch_size=4, **OPTIONS)]
    ends = {each.entry.id: each for each in events if isinstance(each, RequestDone | RequestFailed)}
    assert sorted(ends) == list("abcdef")
    assert [name for name, each in ends.items() if isinstance(each, RequestFailed)] == ["d", "b"]
    for name in "aef":
        done = ends[name]
        assert isinstance(done, RequestDone)
        assert done.trace.provenance.generation.get("batch") == (
            {"size": 2} if name < "f" else None
        )
        alone = reference.trace(done.entry.messages, **OPTIONS)  # type: ignore[arg-type]
        assert done.trace.token_ids == alone.token_ids
    assert [*run_requests(reference, entries[::2], open_run(tmp_path, asked), **OPTIONS)] == []


def test_what_ended_a_process_runs_alone(reference: Tracer, tmp_path: Path) -> None:
    asked = asked_of(reference.setup, generation=OPTIONS)
    entries = [request(name, FACT) for name in "abc"]
    before = open_run(tmp_path, asked)
    before.bind(reference.adapter)
    assert before.begin(entries[0])
    die(before)
    events = run_requests(reference, entries, open_run(tmp_path, asked), batch_size=3, **OPTIONS)
    sizes = {
        each.entry.id: each.trace.provenance.generation.get("batch")
        for each in events
        if isinstance(each, RequestDone)
    }
    assert sizes == {"b": {"size": 2}, "c": {"size": 2}, "a": None}


def test_leaving_a_batch_takes_the_attempts_back(reference: Tracer, tmp_path: Path) -> None:
    run = open_run(tmp_path, asked_of(reference.setup, generation=OPTIONS))
    entries = [request(name, FACT) for name in "ab"]
    events = run_requests(reference, entries, run, batch_size=2, **OPTIONS)
    assert isinstance(next(events), RequestStarted)
    events.close()
    assert run._begun == {}
    assert not list(tmp_path.glob("attempts/*"))


def test_spans_come_while_they_are_written(reference: Tracer) -> None:
    entries = [request("a", FACT)]
    events = [*run_requests(reference, entries, live=True, max_new_tokens=3)]
    kinds = [each.event.type for each in events if isinstance(each, RequestEvent)]
    assert kinds[0] == "token"
    assert kinds[-1] == "end"
    assert isinstance(events[-1], RequestDone)
    assert events[-1].path is None


def test_leaving_the_loop_takes_the_attempt_back(reference: Tracer, tmp_path: Path) -> None:
    asked = asked_of(reference.setup, generation=OPTIONS)

    def again() -> Generator[RunEvent, None, None]:
        run = open_run(tmp_path, asked)
        return run_requests(reference, [request("a", FACT)], run, live=True, **OPTIONS)

    events = again()
    for kind in (RequestStarted, RequestEvent):
        while not isinstance(next(events), kind):
            pass
        assert (tmp_path / "attempts" / "a").is_file()
        events.close()
        assert not (tmp_path / "attempts").exists()
        events = again()


def test_options_are_the_same_before_and_after_loading(reference: Tracer) -> None:
    assert asked_of(signal="attention-mean", generation=OPTIONS) == asked_of(
        reference.setup, generation=OPTIONS
    )


@pytest.mark.parametrize(
    "change",
    [{"signal": "value-attention"}, {"verify": True}, {"block": 8}, {"thinking": None}],
    ids=lambda change: next(iter(change)),
)
def test_options_that_decide_differ(change: dict[str, Any]) -> None:
    usual = {"signal": "attention-mean"}
    assert asked_of(generation={}, **usual) != asked_of(generation={}, **(usual | change))
    assert asked_of(generation={"seed": 1}, **usual) != asked_of(generation={}, **usual)
