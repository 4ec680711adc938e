"""Statements of two traces that belong together."""

from __future__ import annotations

import dataclasses

import pytest

from omnitrace.errors import InputError
from omnitrace.report.compare import compare_view
from tests.helpers.sample_traces import multimodal_trace, text_trace

FACTS = ["One fact. Two facts."]


def test_the_same_response_under_two_selections() -> None:
    trace = multimodal_trace()
    other = trace.reselect(dataclasses.replace(trace.config, max_supports=1))
    view = compare_view([trace, other])
    assert view["pairs"] == [[k, k] for k in range(5)]
    assert view["units"] == [[k, k] for k in range(len(trace.units))]


def test_responses_of_two_models() -> None:
    first = text_trace(FACTS, "Which?", "The cat is grey. It sleeps all day. Goodbye now.")
    second = text_trace(
        FACTS, "Which?", "Hello. The cat is grey. It sleeps all night. Nothing else."
    )
    assert compare_view([first, second])["pairs"] == [
        *([None, 0], [0, 1], [1, 2], [2, None], [None, 3])
    ]


def test_what_cannot_be_compared() -> None:
    trace = text_trace(FACTS, "Which?", "One.")
    with pytest.raises(InputError, match="3 traces to compare"):
        compare_view([trace] * 3)
    with pytest.raises(InputError, match="not of the same request"):
        compare_view([trace, text_trace(FACTS, "Why?", "One.")])
