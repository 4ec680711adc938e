"""Requests one after the other, with a real model: what is yielded, kept, and found again."""

from __future__ import annotations

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
    asked_of,
    open_run,
    run_requests,
)
from omnitrace.sources import RequestProblem
from omnitrace.trace.trace import Trace
from tests.runs.conftest import request

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
    events = run_requests(
        reference, [request("a", FACT)], open_run(tmp_path, asked), live=True, **OPTIONS
    )
    while not isinstance(next(events), RequestEvent):
        pass
    assert (tmp_path / "attempts" / "a").is_file()
    events.close()
    assert not (tmp_path / "attempts").exists()


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
