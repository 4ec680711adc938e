"""What the list says of a signal comes from the signal."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from omnitrace import builtin
from omnitrace.plugins.registry import Entry, build_registry
from omnitrace.signals.base import SpanSignal
from omnitrace.signals.describe import SignalFacts, cost_of, describe
from omnitrace.types import Effect, Span


@pytest.mark.parametrize(
    ("name", "needs", "cost"),
    [
        ("attention-mean", ("rows",), "1× decoding"),  # noqa: RUF001
        ("attention-last", ("rows",), "1× decoding"),  # noqa: RUF001
        ("value-attention", ("rows", "values"), "1× decoding"),  # noqa: RUF001
        ("grad-sam", ("rows", "logit-gradients"), "≈2.5× decoding"),  # noqa: RUF001
        ("grad-sam-last", ("rows", "logit-gradients"), "≈2.5× decoding"),  # noqa: RUF001
    ],
)
def test_the_builtin_signals(name: str, needs: tuple[str, ...], cost: str) -> None:
    entry = build_registry({"omnitrace": builtin}).signal(name)
    assert describe(entry) == SignalFacts(name, "omnitrace", entry.summary, needs, cost, True)


class Span_(SpanSignal):  # noqa: N801
    name = "span"

    def effects(self, scorer: object, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        return []


def test_a_span_signal_does_not_stream() -> None:
    facts = describe(Entry("span", Span_, "", "mine"))
    assert facts == SignalFacts("span", "mine", "", ("forwards",), "many forwards", False)


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (lambda size: size, "TypeError: .* missing 1 required positional argument: 'size'"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (dict, "TypeError: dict is no signal"),
    ],
)
def test_a_signal_that_cannot_be_made(factory: object, problem: str) -> None:
    facts = describe(Entry("x", factory, "words", "mine"))  # type: ignore[arg-type]
    assert (facts.name, facts.package, facts.summary) == ("x", "mine", "words")
    assert (facts.needs, facts.cost, facts.streams) == ((), "", None)
    assert re.fullmatch(problem, facts.problem)


def test_needs_that_nobody_knows() -> None:
    assert cost_of({"magic"}) == "unknown"
