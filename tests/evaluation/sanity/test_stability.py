"""Stability, on signals of which it is known."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import pytest

from omnitrace import InputError, Tracer
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.evaluation.sanity import (
    DEFAULT,
    Case,
    SanityDocument,
    SanityOptions,
    Stability,
    StabilityOptions,
    case_of,
    check_all,
    stability,
    tracers_of,
)
from omnitrace.evaluation.sanity.overlap import attributed, overlaps
from omnitrace.evaluation.sanity.tables import sections_of
from omnitrace.signals.base import SpanSignal
from omnitrace.types import Effect, Span

FACTS = ("The lamp weighs seven grams.", "The cup weighs five grams.", "The key weighs two grams.")
ANSWER = "The cup weighs five grams. The lamp weighs seven grams."


def _request(*texts: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]


MESSAGES = _request(*FACTS, "What do the cup and the lamp weigh?")


class ByContent(SpanSignal):
    """Scores a unit by its words alone, wherever it stands."""

    name = "by-content"

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        return [{u.id: Effect(_number(u.preview)) for u in scorer.source_units} for _ in spans]


class First(SpanSignal):
    """Names the first unit, whatever it says."""

    name = "first"

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        effects = {u.id: Effect(-float(i)) for i, u in enumerate(scorer.source_units)}
        return [effects | {scorer.source_units[0].id: Effect(1.0)} for _ in spans]


def _number(text: str) -> float:
    return hashlib.sha256(text.encode()).digest()[0] / 16


@pytest.fixture(scope="module")
def known(reference: Tracer) -> dict[str, Tracer]:
    return tracers_of(reference, [ByContent(), First()])


@pytest.fixture(scope="module")
def known_cases(known: dict[str, Tracer]) -> list[Case]:
    other = _request("The rope weighs nine grams.", "The pen costs two coins.", "Of the rope?")
    return [
        case_of(known, "three", MESSAGES, ANSWER),
        case_of(known, "two", other, "The rope weighs nine grams."),
    ]


@pytest.fixture(scope="module")
def found(known: dict[str, Tracer], known_cases: list[Case]) -> Stability:
    options = StabilityOptions(shuffles=5, distractors=1)
    return stability(known, known_cases, options=options, second=known)


def test_a_signal_that_reads_the_words_alone_is_stable(found: Stability) -> None:
    for change in ("order", "instruction", "model"):
        overlap = found.of("by-content", change)
        assert (overlap.jaccard.value, overlap.same_first.value) == (1, 1)
        assert overlap.correlation.value == pytest.approx(1)
        assert (overlap.jaccard.low, overlap.jaccard.high) == (1, 1)
    assert found.of("by-content", "distractors").correlation.value == pytest.approx(1)


def test_a_signal_that_names_what_is_first_is_not(found: Stability) -> None:
    order = found.of("first", "order")
    # "three", of 2 spans: the first source stays in 1 of 5 other orders; "two": never.
    assert order.jaccard.value == order.same_first.value == pytest.approx(2 / 11)
    assert order.jaccard.low == 0
    assert order.jaccard.count == 11
    assert order.correlation.value < 0.5
    assert order.neither.value == 0
    assert found.of("first", "instruction").jaccard.value == 1
    assert len(found.done["order"]["three"]) == 5
    assert found.done["order"]["two"] == ("sources in the order 2, 1",)


def test_every_two_signals_are_compared(known_cases: list[Case], found: Stability) -> None:
    (pair,) = found.pairs
    assert (pair.signal, pair.against) == ("by-content", "first")
    assert pair.jaccard == found.of("first", "signals").jaccard
    supports = [
        [{each.unit.id for each in span.supports} for span in case.spans[signal]]
        for case in known_cases
        for signal in ("by-content", "first")
    ]
    values = [
        len(a & b) / len(a | b)
        for one, other in (supports[:2], supports[2:])
        for a, b in zip(one, other, strict=True)
    ]
    assert pair.jaccard.value == pytest.approx(sum(values) / len(values))


def test_what_is_added_counts_where_it_is_named(known: dict[str, Tracer]) -> None:
    case = case_of(known, "three", MESSAGES, ANSWER)
    seen = set()
    for seed in range(8):
        options = StabilityOptions(shuffles=1, distractors=3, templates=("{question}",))
        seen.add(stability(known, [case], options=options, seed=seed).of("first", "distractors"))
    values = {each.jaccard.value for each in seen}
    assert values == {0.0, 1.0}  # sometimes one of them stands first
    assert [each.correlation.value for each in seen] == pytest.approx([1] * len(seen))


def test_the_default_and_verified_supports(reference: Tracer) -> None:
    tracers = tracers_of(reference, [DEFAULT, "verified"])
    case = case_of(tracers, "three", MESSAGES, ANSWER)
    assert all(span.verdict is not None for span in case.spans[DEFAULT])
    options = StabilityOptions(shuffles=1, templates=("{question} Thank you.",), distractors=1)
    found = stability(tracers, [case], options=options)
    assert {(row.signal, row.against) for row in found.rows} == {
        (signal, change)
        for signal in (DEFAULT, "verified")
        for change in ("signals", "order", "instruction", "distractors")
    }
    assert not found.unchanged
    assert found.of(DEFAULT, "signals").jaccard.value == 1  # the same words on the same shortlist


def test_what_cannot_be_changed_is_named(known: dict[str, Tracer], known_cases: list[Case]) -> None:
    text = "The lamp weighs seven grams. The cup weighs five grams."
    alone = case_of(known, "alone", [{"role": "user", "content": text}], ANSWER)
    found = stability(known, [alone])
    assert [(each.change, each.signal) for each in found.unchanged] == [
        ("order", None),
        ("instruction", None),
    ]
    assert {row.against for row in found.rows} == {"signals", "distractors"}
    with pytest.raises(InputError, match="'first' was not compared against 'order'"):
        found.of("first", "order")
    trace = known_cases[0].trace
    halved = dataclasses.replace(trace, text="Other words.")
    other = dataclasses.replace(known_cases[0], trace=halved)
    (row, *_) = stability(known, [other], second=known).unchanged
    assert (row.change, row.reason) == ("model", "2 spans became 1 others")


def test_two_attributions_without_supports_are_alike_and_counted(known_cases: list[Case]) -> None:
    case = known_cases[0]
    bare = [dataclasses.replace(span, supports=()) for span in case.spans["first"]]
    none = attributed(case.trace.units, bare, case.scores["first"])
    some = attributed(case.trace.units, case.spans["first"], case.scores["first"])
    assert overlaps(none, none).tolist() == [[1, pytest.approx(1), 1, 1]] * 2
    assert overlaps(none, some).tolist() == [[0, pytest.approx(1), 0, 0]] * 2


@pytest.mark.parametrize(
    "options", [{"shuffles": 0}, {"distractors": 0}, {"templates": ()}, {"templates": ("Why?",)}]
)
def test_options_that_change_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        StabilityOptions(**options)  # type: ignore[arg-type]


def test_a_second_model_has_the_same_signals(
    known: dict[str, Tracer], known_cases: list[Case]
) -> None:
    with pytest.raises(InputError, match="the second model has the signals"):
        stability(known, known_cases, second={"first": known["first"]})
    with pytest.raises(InputError, match="there is no response"):
        stability(known, [])


def test_the_document_and_the_table(known: dict[str, Tracer], known_cases: list[Case]) -> None:
    options = SanityOptions(checks=(), stability=StabilityOptions(shuffles=1))
    found = check_all(known, known_cases, options=options, second=known)
    assert found.evidence is None
    text = json.dumps(found.to_document(), allow_nan=False)
    read = SanityDocument.model_validate_json(text)
    assert read.stability is not None
    assert read.stability.rows[0].signal == "by-content"
    assert read.stability.model == "reference"
    ((title, rows, notes),) = sections_of(found)
    assert title == "Stability of supports"
    assert [row[0] for row in rows] == ["signal", "by-content", "first"]
    assert rows[0][1:3] == ["other signals: overlap", "other signals: rank"]
    assert len(rows[0]) == 11
    assert all(len(row) == 11 for row in rows)
    assert any(note.startswith("instruction: Please answer: {question}") for note in notes)
    assert "second model: reference" in notes
