"""Span signals in the tracer: supports by effects, and what happens when a signal misbehaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import (
    InputError,
    NotSupportedError,
    PluginError,
    SelectionConfig,
    Span,
    Trace,
    Tracer,
)
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.cli import runner as running
from omnitrace.errors import ConformanceError
from omnitrace.runs.inputs import Requests
from omnitrace.signals.base import Effect, SpanSignal
from omnitrace.sources.request_files import RequestEntry
from tests.helpers.leave_one_out import LeaveOneOut
from tests.helpers.model_state import assert_unchanged, state

CONTENT = [
    {"type": "text", "text": "The lamp weighs seven grams. The cup weighs five grams."},
    {"type": "text", "text": "What does the lamp weigh? What does the cup weigh?"},
]
MESSAGES = [{"role": "user", "content": CONTENT}]
ANSWER = "The lamp weighs seven grams. The cup weighs five grams."


@pytest.fixture(scope="module")
def tracer(reference: Tracer) -> Tracer:
    return Tracer(adapter=reference.adapter, signal=LeaveOneOut())


@pytest.fixture(scope="module")
def trace(tracer: Tracer) -> Trace:
    return tracer.trace(MESSAGES)


def test_supports_are_the_units_whose_loss_hurts(trace: Trace) -> None:
    assert trace.text == ANSWER
    assert [span.supports[0].unit.id for span in trace.spans] == ["text-1", "text-2"]
    for span in trace.spans:
        assert span.effects is not None
        assert set(span.effects) == {"text-1", "text-2"}
        assert not span.ungrounded
        positive = sum(max(0.0, effect.value) for effect in span.effects.values())
        for rank, support in enumerate(span.supports, start=1):
            assert support.effect == span.effects[support.unit.id].value
            assert support.effect is not None
            assert support.effect > 0.1
            assert support.share == pytest.approx(support.effect / positive)
            assert (support.rank, support.score, support.run) == (rank, support.share, 0.0)
            assert 0 < support.mass < 1


def test_token_scores_and_provenance_name_both_signals(trace: Trace, reference: Tracer) -> None:
    plain = reference.trace(MESSAGES)
    assert trace.token_ids == plain.token_ids
    assert trace.tokens == plain.tokens
    np.testing.assert_array_equal(trace.scores, plain.scores)
    signal = trace.provenance.signal
    assert signal["name"] == "leave-one-out"
    assert signal["parameters"] == {"operator": "mean"}
    assert signal["token_signal"] == "attention-mean"
    assert signal["layers"] == plain.provenance.signal["layers"]
    assert "token_signal" not in plain.provenance.signal
    assert trace.provenance.timings["effects"] > 0
    assert [span.grounding for span in trace.spans] == [span.grounding for span in plain.spans]


def test_saved_traces_keep_effects_and_reselect_by_them(
    trace: Trace, tracer: Tracer, tmp_path: Path
) -> None:
    loaded = Trace.load(trace.save(tmp_path / "t.omnitrace"))
    assert loaded.spans == trace.spans == loaded.reselect(trace.config).spans
    config = SelectionConfig(coverage=1.0, effect_min=0.1)
    live = Tracer(adapter=tracer.adapter, signal=LeaveOneOut(), selection=config).trace(MESSAGES)
    assert loaded.reselect(config).spans == live.spans
    assert "leave-one-out" in trace.to_html(tmp_path / "r.html").read_text()


def test_a_span_that_depends_on_no_unit_is_ungrounded(tracer: Tracer) -> None:
    trace = tracer.replay(MESSAGES, ANSWER)
    assert trace.spans[0].effects is not None
    weak = [{unit: Effect(0.5, low=-0.1) for unit in ("text-1", "text-2")}, {}]
    changed = trace.with_effects(weak)
    assert all(span.ungrounded and not span.supports for span in changed.spans)
    assert changed.spans[0].effects == weak[0]
    with pytest.raises(InputError, match="an effect of the unknown unit 'text-9' for span 1"):
        trace.with_effects([{}, {"text-9": Effect(1.0)}])
    voted = trace.explain("The lamp weighs seven grams.")
    assert voted.effects is None
    assert voted.supports[0].run > 0


def test_replay_equals_the_live_trace_and_contrasts(trace: Trace, tracer: Tracer) -> None:
    replayed = tracer.replay(MESSAGES, trace.token_ids)
    for live, again in zip(trace.spans, replayed.spans, strict=True):
        assert [s.unit.id for s in live.supports] == [s.unit.id for s in again.supports]
        assert live.effects == again.effects
    other = "The lamp weighs seven grams. The cup weighs nine grams."
    contrast = tracer.replay(MESSAGES, ANSWER, against=other)
    first, second = contrast.spans
    assert first.ungrounded  # nothing differs there
    assert second.supports[0].unit.id == "text-2"
    assert contrast.provenance.generation["contrast"] is True


def test_the_model_is_left_as_it_was_found(tracer: Tracer) -> None:
    model = tracer.adapter.model
    before = state(model)
    flags = [each.requires_grad for each in model.parameters()]
    with torch.inference_mode():
        tracer.trace(MESSAGES)
    assert_unchanged(model, before)
    assert [each.requires_grad for each in model.parameters()] == flags


def test_streaming_is_refused(tracer: Tracer) -> None:
    with pytest.raises(NotSupportedError, match="'leave-one-out' is a span signal"):
        tracer.stream(MESSAGES)


class Misbehaving(SpanSignal):
    name = "misbehaving"

    def __init__(self, found: Callable[[Sequence[str], int], Any]) -> None:
        self.found = found

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        return self.found(scorer.units, len(spans))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda units, spans: 1 / 0, "the signal 'misbehaving' raised ZeroDivisionError"),
        (lambda units, spans: [{}] * (spans - 1), "'misbehaving' returned a list of 1 for 2 spans"),
        (lambda units, spans: [{units[0]: Effect(math.nan)}] * spans, "value=nan"),
        (lambda units, spans: [{"text-7": Effect(1.0)}] * spans, "unknown unit 'text-7'"),
    ],
)
def test_a_broken_signal_is_named_with_its_contract(
    reference: Tracer, found: Callable[[Sequence[str], int], Any], message: str
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=Misbehaving(found))
    before = state(reference.adapter.model)
    with pytest.raises(ConformanceError, match=message) as raised:
        tracer.replay(MESSAGES, ANSWER)
    assert "effects(scorer, spans) returns one dict a span" in str(raised.value)
    assert raised.value.text == ANSWER
    assert_unchanged(reference.adapter.model, before)


def test_a_mistake_of_the_user_passes_through(reference: Tracer) -> None:
    class Strict(LeaveOneOut):
        def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
            raise InputError("the budget is too small")

    with pytest.raises(InputError, match="the budget is too small"):
        Tracer(adapter=reference.adapter, signal=Strict()).replay(MESSAGES, ANSWER)


def test_what_is_no_signal_is_refused(reference: Tracer) -> None:
    with pytest.raises(PluginError, match="is no signal"):
        Tracer(adapter=reference.adapter, signal=object())  # type: ignore[arg-type]


def test_the_command_line_traces_with_a_span_signal(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "tracer_loader", lambda *_, **__: lambda **_: tracer)
    runner = running.Runner("reference", "leave-one-out")
    assert runner.run(Requests.of([RequestEntry("weights", MESSAGES, Path())])) == 0
    assert "The cup weighs five grams." in (out := capsys.readouterr().out)
    assert "nats" in out
