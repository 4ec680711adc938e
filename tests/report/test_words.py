"""Strength and verdicts in words."""

from __future__ import annotations

import dataclasses

import pytest

from omnitrace.report.words import STRONG_NATS, strength_of, strength_words, why_unsupported
from omnitrace.types import Effect
from tests.helpers.sample_traces import text_trace


@pytest.mark.parametrize(
    ("share", "effect", "word"),
    [
        (0.5, None, "strong"),
        (0.49, None, "weak"),
        (0.1, STRONG_NATS, "strong"),  # an effect says more than votes
        (1.0, STRONG_NATS - 0.01, "weak"),
    ],
)
def test_how_firmly_a_source_supports(share: float, effect: float | None, word: str) -> None:
    span = text_trace(["A fact."], "Which?", "A fact.").spans[0]
    support = dataclasses.replace(span.supports[0], share=share, effect=effect)
    assert strength_of(support) == word
    assert strength_words(dataclasses.replace(span, supports=(support,))) == word


def test_why_a_span_has_no_source() -> None:
    span = text_trace(["A fact."], "Which?", "A fact.").spans[0]
    bare = dataclasses.replace(span, supports=(), ungrounded=True)
    assert strength_words(bare) == "no source found"
    assert why_unsupported(bare) == "no source supports this"
    effects = {"text-1": Effect(0.0)}
    none = dataclasses.replace(bare, effects=effects, verdict="no-source", sources_effect=-0.01)
    assert "changes it by +0.0 nats" in why_unsupported(none)
    against = dataclasses.replace(none, verdict="against-sources", sources_effect=-2.8)
    assert strength_words(against) == "against the sources"
    assert why_unsupported(against) == "without the sources it is 2.8 nats more likely"
