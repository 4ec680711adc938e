"""Verified supports: what ablation says of a shortlist, compared with all masks measured alone."""

from __future__ import annotations

import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitrace import InputError, SelectionConfig, SpanEvent, Trace, Tracer
from omnitrace.ablation import measure
from omnitrace.ablation.kept_row import kept_row
from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.errors import ModelError
from omnitrace.signals.verified import options as verify_options
from omnitrace.signals.verified.options import Verify
from omnitrace.signals.verified.ranking import by_size, largest_attention
from omnitrace.signals.verified.search import Search
from omnitrace.signals.verified.signal import Verified
from omnitrace.testing import SpanSignalConformance
from omnitrace.testing.harness import SignalHarness
from omnitrace.trace.events import EndEvent
from omnitrace.types import Effect, SpanEffects

FACTS = "The coin costs three coins. The garden was quiet. The lamp costs six coins."


class TestVerified(SpanSignalConformance):
    def make_harness(self) -> SignalHarness:
        return SignalHarness(Verified())


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer.from_pretrained("reference")


def asked(question: str, text: str = FACTS) -> list[dict[str, object]]:
    parts = [{"type": "text", "text": text}, {"type": "text", "text": question}]
    return [{"role": "user", "content": parts}]


def test_a_fact_is_supported_by_its_sentence(tracer: Tracer) -> None:
    (span,) = tracer.trace(asked("What does the lamp cost?")).spans
    assert span.verdict == "supported"
    assert [each.unit.preview for each in span.supports] == ["The lamp costs six coins."]
    assert span.supports[0].kind == "necessary"
    assert span.sources_effect is not None
    assert span.sources_effect > 1


def test_what_no_source_says_has_none(tracer: Tracer) -> None:
    (span,) = tracer.trace(asked("What does the spoon cost?")).spans
    assert "unknown" in span.text
    assert (span.verdict, span.supports, span.ungrounded) == ("no-source", (), True)


def test_the_total_is_what_hiding_every_source_costs(tracer: Tracer) -> None:
    trace = tracer.trace(asked("What does the lamp cost?"))
    nothing = np.zeros((1, len(trace.units)), dtype=bool)
    measured = tracer.effects(trace, nothing, share=False).drops[0, 0]
    assert trace.spans[0].sources_effect == pytest.approx(measured, abs=1e-3)


def test_a_unit_that_is_left_out_costs_what_brute_force_says(tracer: Tracer) -> None:
    trace = tracer.trace(asked("What does the lamp cost?"))
    scorer = tracer.scorer_of(trace)
    keep = np.ones((1, len(trace.units)), dtype=bool)
    lamp = [unit.preview for unit in trace.units].index("The lamp costs six coins.")
    keep[0, lamp] = False
    drops = measure(scorer, trace.spans, keep, share=False)
    alone = measure(scorer, trace.spans, np.stack([~keep[0], keep[0] & False]), share=False)
    inside = slice(trace.spans[0].token_start, trace.spans[0].token_end)
    lost = (drops.full - drops.tokens[0])[inside]
    back = (alone.tokens[0] - alone.tokens[1])[inside]
    assert trace.spans[0].supports[0].effect == pytest.approx(
        np.maximum(np.minimum(lost, back) - 0.5, 0).sum(), abs=1e-3
    )


def test_a_fact_that_is_said_twice_is_found_twice(tracer: Tracer) -> None:
    text = "The lamp costs six coins. The garden was quiet. The lamp costs six coins."
    (span,) = tracer.trace(asked("What does the lamp cost?", text)).spans
    assert {each.unit.preview for each in span.supports} == {"The lamp costs six coins."}
    assert len(span.supports) == 2


def test_an_evidence_outside_the_shortlist_is_found_by_halves(tracer: Tracer) -> None:
    trace = tracer.trace(asked("What does the lamp cost?"))
    scorer = tracer.scorer_of(trace)
    lamp = [unit.preview for unit in trace.units].index("The lamp costs six coins.")
    worst = np.ones((1, len(trace.units)))
    worst[0, lamp] = 0.0
    (found,) = Search(scorer, trace.spans, worst, Verify(shortlist=1)).run()
    named = [unit for unit, effect in found.items() if effect.kind is not None]
    assert named == [trace.units[lamp].id]


def test_the_budget_is_kept(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_options, "_TEXT", (3.0, 0.0))
    text = " ".join(f"The lamp costs {number} coins." for number in ("two", "two", "one", "two"))
    trace = tracer.trace(asked("What does the lamp cost? What does the spoon cost?", text))
    ranking = np.ones((len(trace.spans), len(trace.units)))
    for budget in (1.0, 2.0, 3.0):
        search = Search(tracer.scorer_of(trace), trace.spans, ranking, Verify(budget=budget))
        found = search.run()
        assert search.measured.passes <= budget
    assert found[0], "what was found before the budget ended is kept"


def test_two_sources_of_one_statement_are_both_found(tracer: Tracer) -> None:
    text = "The lamp costs two coins. The garden was quiet. The key weighs three grams."
    question = "What does the lamp cost, what does the key weigh, and what do they make?"
    (span,) = tracer.trace(asked(question, text)).spans
    assert {each.unit.preview for each in span.supports} == {
        "The lamp costs two coins.",
        "The key weighs three grams.",
    }


def test_the_stream_ends_with_the_trace_of_trace(tracer: Tracer) -> None:
    request = asked("What does the lamp cost?")
    with tracer.stream(request) as events:
        every = list(events)
    ended: Trace = every[-1].trace  # type: ignore[union-attr]
    assert ended.spans == tracer.trace(request).spans
    assert all(event.span.verdict is None for event in every if hasattr(event, "span"))


def test_supports_are_verified_where_no_signal_is_named(tracer: Tracer) -> None:
    assert tracer.setup.verify == Verify()
    assert tracer.setup.signals.token.name == "value-attention"
    named = tracer.with_options(signal="grad-sam")
    assert named.setup.verify is None
    assert named.with_options(signal=None).setup.verify == Verify()
    assert tracer.with_options(signal=None, verify=False).setup.verify is None


def test_the_supports_of_a_stream_are_not_verified_until_it_ends(tracer: Tracer) -> None:
    *before, last = tracer.stream(asked("What does the lamp cost?"))
    spans = [event.span for event in before if isinstance(event, SpanEvent)]
    assert [span.verdict for span in spans] == [None]
    assert spans[0].supports
    assert isinstance(last, EndEvent)
    assert [span.verdict for span in last.trace.spans] == ["supported"]


def test_a_named_signal_is_verified_only_where_that_is_asked(tracer: Tracer) -> None:
    request = asked("What does the lamp cost?")
    named = tracer.with_options(signal="grad-sam")
    assert named.setup.verify is None
    assert named.trace(request).spans[0].verdict is None
    both = tracer.with_options(signal="grad-sam", verify=True).trace(request)
    assert both.spans[0].verdict == "supported"
    assert both.provenance.signal["name"] == "grad-sam"
    assert both.provenance.signal["verify"]["passes"] > 0
    assert tracer.with_options(verify=False).trace(request).spans[0].verdict is None


def test_a_trace_is_verified_later_as_it_would_have_been_at_once(
    tracer: Tracer, tmp_path: Path
) -> None:
    request = asked("What does the lamp cost?")
    plain = tracer.with_options(verify=False)
    saved = plain.trace(request).save(tmp_path / "a.omnitrace")
    later = plain.verify(Trace.load(saved))
    assert later.spans == tracer.trace(request).spans
    assert later.provenance.signal["verify"]["passes"] > 0
    assert not later.provenance.generation.get("replay")


def test_a_replay_is_verified_as_the_trace_was(tracer: Tracer) -> None:
    request = asked("What does the lamp cost? What does the coin cost?")
    written = tracer.trace(request)
    replayed = tracer.replay(request, written.token_ids)
    assert "supported" in [span.verdict for span in written.spans]
    for ours, theirs in zip(replayed.spans, written.spans, strict=True):
        assert ours.verdict == theirs.verdict
        assert [each.unit.id for each in ours.supports] == [
            each.unit.id for each in theirs.supports
        ]
        assert [each.effect for each in ours.supports] == pytest.approx(
            [each.effect for each in theirs.supports], abs=1e-4
        )


def test_nothing_that_was_kept_of_prompt_and_response_is_held_after(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[weakref.ref[Any]] = []
    rows: list[weakref.ref[Any]] = []
    take = PromptRecord.take

    def taken(self: PromptRecord) -> Any:
        cache = take(self)
        prompts.append(weakref.ref(cache))
        return cache

    def noted(*args: Any) -> Any:
        row = kept_row(*args)
        assert row is not None
        rows.append(weakref.ref(row))
        return row

    held: list[tuple[bool, bool]] = []

    def measured(masks: np.ndarray) -> None:
        held.append((prompts[-1]() is not None, rows[-1]() is not None))

    monkeypatch.setattr(PromptRecord, "take", taken)
    monkeypatch.setattr("omnitrace.ablation.recording.kept_row", noted)
    stream = tracer.stream(asked("What does the lamp cost?"), measured=measured)
    *_, last = stream
    assert isinstance(last, EndEvent)
    assert last.trace.spans[0].verdict == "supported"
    assert len(prompts) == 1
    assert set(held) == {(False, True)}, "while masks run, only the row of all of it is held"
    gc.collect()
    assert [each() for each in [*prompts, *rows]] == [None] * 3


def test_what_cannot_be_verified_is_refused(tracer: Tracer) -> None:
    with pytest.raises(InputError, match="mask-gradient"):
        tracer.with_options(signal="mask-gradient", verify=True)
    with pytest.raises(InputError, match="verify is 3"):
        tracer.with_options(verify=3)  # type: ignore[typeddict-item]


def test_a_model_that_cannot_be_measured_keeps_its_supports(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ModelError("this model looks at more than embeddings")

    monkeypatch.setattr("omnitrace.engine.verification.response_scorer", refuse)
    with pytest.warns(RuntimeWarning, match="not verified"):
        (span,) = tracer.trace(asked("What does the lamp cost?")).spans
    assert span.verdict is None
    assert span.supports


def test_verdicts_survive_files_and_selection_again(tracer: Tracer, tmp_path: object) -> None:
    trace = tracer.trace(asked("What does the lamp cost?"))
    loaded = Trace.load(trace.save(f"{tmp_path}/x.omnitrace"))
    assert loaded.spans == trace.spans
    assert loaded.reselect(SelectionConfig()).spans == trace.spans
    strict = loaded.reselect(SelectionConfig(verdict_min=100.0))
    assert (strict.spans[0].verdict, strict.spans[0].supports) == ("no-source", ())


def test_what_is_likelier_without_sources_is_against_them(tracer: Tracer) -> None:
    trace = tracer.trace(asked("What does the lamp cost?"))
    (span,) = trace.with_effects([SpanEffects(total=-2.0)]).spans
    assert (span.verdict, span.supports) == ("against-sources", ())


def test_equal_effects_keep_the_order_of_the_signal(tracer: Tracer) -> None:
    trace = tracer.trace(asked("What does the lamp cost?"))
    last, first = trace.units[-1].id, trace.units[0].id
    effects = {last: Effect(4.01, kind="sufficient"), first: Effect(4.02, kind="sufficient")}
    (span,) = trace.with_effects([SpanEffects(effects, total=4.0)]).spans
    assert [each.unit.id for each in span.supports] == [last, first]


def test_attention_ranks_as_the_trace_does(tracer: Tracer) -> None:
    trace = tracer.with_options(verify=False).trace(asked("What does the lamp cost?"))
    ranking = largest_attention(tracer.scorer_of(trace), trace.spans)
    span = trace.spans[0]
    expected = trace.unit_scores()[span.token_start : span.token_end].max(axis=0)
    np.testing.assert_allclose(ranking[0], expected, atol=1e-4)
    np.testing.assert_allclose(by_size(np.array([[2.0, 3.0]]), np.array([4, 9])), [[1.0, 1.0]])


def test_nothing_is_warned_about(tracer: Tracer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracer.trace(asked("What does the lamp cost?"))


@pytest.mark.parametrize("options", [{"shortlist": 0}, {"budget": 0.5}, {"missed": -1.0}])
def test_illegal_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Verify(**options)  # type: ignore[arg-type]


def test_a_ranking_of_another_shape_is_refused(tracer: Tracer) -> None:
    trace = tracer.trace(asked("What does the lamp cost?"))
    with pytest.raises(InputError, match="ranking of shape"):
        Verified(ranking=np.ones((3, 1))).effects(tracer.scorer_of(trace), trace.spans)


def test_a_newcomers_question_is_not_answered_with_the_first_document(smollm2: Tracer) -> None:
    """Attention names the first document whatever it says."""
    texts = [
        "Berlin is the capital of Germany. It lies on the Spree.",
        "Paris is the capital of France.",
        "What is the capital of France?",
    ]
    request = [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]
    trace = smollm2.with_options(signal=None).trace(request, max_new_tokens=12)
    first = trace.spans[0]
    assert first.text == "Paris is the capital of France."
    assert first.verdict in ("supported", "no-source")
    assert 0 not in [support.unit.locator.part for support in first.supports]
