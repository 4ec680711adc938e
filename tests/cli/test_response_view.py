"""What is printed of a request while it is traced: its heading, its spans when they are due."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from omnitrace.cli.console import StatusLine
from omnitrace.cli.response_view import ResponseView
from omnitrace.trace.events import EndEvent, SpanEvent, TokenEvent
from tests.helpers.cited_traces import verified_trace


class Line(StatusLine):
    """Keeps what was shown, as if there were a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def show(self, text: str) -> None:
        self.lines.append(text)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        yield


def test_spans_wait_for_what_verification_finds(capsys: pytest.CaptureFixture[str]) -> None:
    trace = verified_trace()
    view = ResponseView(Line(), "a", heading="a", verifies=True)
    for span in trace.spans:
        view.follow(SpanEvent(dataclasses.replace(span, text="too early")))
    assert capsys.readouterr().out == "a\n"
    view.follow(EndEvent(trace))
    printed = capsys.readouterr().out
    assert "too early" not in printed
    assert all(span.text.strip() in printed for span in trace.spans)
    view.show_waiting()
    assert capsys.readouterr().out == ""


def test_spans_are_printed_at_once_where_nothing_is_verified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (first, *_) = verified_trace().spans
    view = ResponseView(Line(), "a")
    view.follow(SpanEvent(first))
    assert first.text.strip() in capsys.readouterr().out


def test_spans_that_wait_are_printed_when_the_command_is_interrupted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (first, *_) = verified_trace().spans
    for silent in (False, True):
        view = ResponseView(Line(), "a", verifies=True, silent=silent)
        view.follow(SpanEvent(first))
        view.show_waiting()
        printed = capsys.readouterr().out
        assert (first.text.strip() in printed, "not verified" in printed) == (not silent,) * 2


def test_how_far_a_response_is_stands_in_the_line() -> None:
    trace = verified_trace()
    line = Line()
    view = ResponseView(line, "a (2 of 3)", verifies=True)
    view.say_progress()
    for token in trace.tokens[:2]:
        view.follow(TokenEvent(token))
    view.follow(SpanEvent(trace.spans[0]))
    view.measured(np.ones((7, 4), dtype=bool))
    assert line.lines == [
        "a (2 of 3): reading",
        "a (2 of 3): 1 token",
        "a (2 of 3): 2 tokens",
        "a (2 of 3): 2 tokens",
        "a (2 of 3): 2 tokens, 7 measured ablations",
    ]
