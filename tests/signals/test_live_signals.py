"""Live span signals in the tracer: effects while the model writes, and their contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import (
    ConformanceError,
    InputError,
    NotSupportedError,
    ProvisionalEvent,
    SpanEvent,
    Trace,
    Tracer,
)
from omnitrace.attribution.effects import select_by_effect
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.engine.run import prepared
from omnitrace.plugins.registry import Entry
from omnitrace.signals.base import Effect, Need
from omnitrace.signals.describe import SignalFacts, describe
from omnitrace.trace.events import Event
from omnitrace.types import SourceUnit
from tests.helpers.live_signals import DepthWeighted, with_signal
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.tower_request import ANSWER, MESSAGES, dictated


@pytest.fixture(scope="module")
def tracer(reference: Tracer) -> Tracer:
    return with_signal(reference, DepthWeighted())


@pytest.fixture(scope="module")
def options(reference: Tracer) -> dict[str, Any]:
    return dictated(reference, MESSAGES)


@pytest.fixture(scope="module")
def trace(tracer: Tracer, options: dict[str, Any]) -> Trace:
    return tracer.trace(MESSAGES, **options)


def reductions_from_eager_attention(tracer: Tracer, trace: Trace) -> torch.Tensor:
    """Reduce the full attention matrices, ``[tokens, layers, units]``: slow and by the book."""
    model = tracer.adapter.model
    ids = torch.tensor([[*trace.prompt_ids, *trace.token_ids[:-1]]])
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            attentions = model(ids, output_attentions=True).attentions
    finally:
        model.set_attn_implementation("sdpa")
    layers = []
    for attention in attentions:
        rows = attention[0].float().mean(dim=0)[len(trace.prompt_ids) - 1 :]
        layers.append(
            torch.stack([rows[:, list(u.positions)].sum(dim=1) for u in trace.units], dim=1)
        )
    return torch.stack(layers, dim=1)


def test_effects_are_those_of_the_spans_own_tokens(smollm2: Tracer) -> None:
    tracer = with_signal(smollm2, DepthWeighted())
    trace = tracer.replay(MESSAGES, ANSWER)
    reduced = reductions_from_eager_attention(tracer, trace)
    assert len(trace.spans) >= 2
    for span in trace.spans:
        rows = reduced[span.token_start : span.token_end]
        expected = DepthWeighted().effects_of(rows, trace.units)
        assert span.effects is not None
        assert span.effects.keys() == expected.keys()
        for unit, effect in expected.items():
            assert span.effects[unit].value == pytest.approx(effect.value, abs=1e-5)


def test_supports_are_chosen_by_effect(trace: Trace) -> None:
    assert (trace.text, len(trace.spans)) == (ANSWER, 3)
    for span in trace.spans:
        assert span.effects is not None
        chosen = select_by_effect(span.effects, trace.units, trace.config)
        assert [(s.unit, s.effect, s.share) for s in span.supports] == [
            (trace.units[each.unit_index], each.effect, each.share) for each in chosen
        ]
        assert span.ungrounded == (not chosen)


def test_scores_are_those_of_attention_mean(
    trace: Trace, reference: Tracer, options: dict[str, Any]
) -> None:
    plain = reference.trace(MESSAGES, **options)
    np.testing.assert_array_equal(trace.scores, plain.scores)
    assert trace.tokens == plain.tokens
    assert [span.grounding for span in trace.spans] == [span.grounding for span in plain.spans]
    signal = trace.provenance.signal
    assert (signal["name"], signal["token_signal"]) == ("depth-weighted", "attention-mean")
    assert signal["parameters"] == {"slope": 1.0}
    assert "effects" not in trace.provenance.timings


def test_replay_gives_the_live_effects(trace: Trace, tracer: Tracer) -> None:
    replayed = tracer.replay(MESSAGES, trace.token_ids)
    for live, again in zip(trace.spans, replayed.spans, strict=True):
        assert (live.text, live.effects.keys()) == (again.text, again.effects.keys())  # type: ignore[union-attr]
        for unit, effect in live.effects.items():  # type: ignore[union-attr]
            assert again.effects[unit].value == pytest.approx(effect.value, abs=1e-5)  # type: ignore[index]


def test_saved_traces_keep_the_effects(trace: Trace, tmp_path: Path) -> None:
    loaded = Trace.load(trace.save(tmp_path / "t.omnitrace"))
    assert loaded.spans == trace.spans == loaded.reselect(trace.config).spans
    assert loaded.tokens == trace.tokens


def test_a_stream_gives_provisional_supports_and_then_the_final_ones(
    trace: Trace, tracer: Tracer, options: dict[str, Any]
) -> None:
    events = list(tracer.stream(MESSAGES, provisional=1, **options))
    spans = [event.span for event in events if isinstance(event, SpanEvent)]
    assert tuple(spans) == trace.spans
    growing = [event.span for event in events if isinstance(event, ProvisionalEvent)]
    assert growing
    for span in growing:
        assert span.effects is not None
        assert span.effects.keys() == {unit.id for unit in trace.units}


def test_only_the_open_span_is_remembered(tracer: Tracer) -> None:
    """However long the response, what is kept of each token is what its span still needs."""
    run = prepared(tracer.setup, MESSAGES, **dictated(tracer, MESSAGES, f"{ANSWER} {ANSWER}"))
    assembler = run.engine.assembler
    kept: list[tuple[int, int]] = []

    def look(event: Event) -> None:
        reductions = sum(map(len, assembler._reduced))
        kept.append((reductions, sum(map(len, assembler._masses))))

    run.run(look)
    spans = assembler.spans
    longest = max(span.token_end - span.token_start for span in spans)
    assert len(spans) == 6
    assert max(reductions for reductions, _ in kept) <= longest + 2 * run.engine.block
    assert all(reductions == masses for reductions, masses in kept)
    assert sum(map(len, assembler._reduced)) <= 2


class Eager(DepthWeighted):
    """Lists the layers before it reads them, and reads them more than once."""

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        layers = list(rows)
        kept = [layer.weights for layer in layers]
        for layer, weights in zip(layers, kept, strict=True):
            assert torch.allclose(layer.mean(), weights.mean(dim=0), atol=1e-6)
        return super().reduce(layers, units)


class Impatient(DepthWeighted):
    """Takes the first of the layers that it asks for, and leaves the rest."""

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        return available[1:]

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        first = next(iter(rows))
        assert first.layer == 1
        return super().reduce([first], units)


def test_however_a_signal_reads_the_layers_everyone_sees_the_same(reference: Tracer) -> None:
    plain = reference.replay(MESSAGES, ANSWER)
    patient = with_signal(reference, DepthWeighted()).replay(MESSAGES, ANSWER)
    eager = with_signal(reference, Eager()).replay(MESSAGES, ANSWER)
    impatient = with_signal(reference, Impatient()).replay(MESSAGES, ANSWER)
    for trace in (patient, eager, impatient):
        np.testing.assert_array_equal(trace.scores, plain.scores)
    for first, second in zip(patient.spans, eager.spans, strict=True):
        for unit, effect in first.effects.items():  # type: ignore[union-attr]
            assert second.effects[unit].value == pytest.approx(effect.value, abs=1e-5)  # type: ignore[index]
    assert impatient.spans[0].effects != patient.spans[0].effects


class ByValue(DepthWeighted):
    """Attention on a unit times the length of its value vectors."""

    name = "by-value"
    needs: frozenset[Need] = frozenset({"rows", "values"})

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        layers = []
        for layer in rows:
            carried = torch.einsum("hrc,hc->rc", layer.weights, layer.value_norms)
            layers.append(torch.stack([carried[:, list(u)].sum(dim=1) for u in units], dim=1))
        return torch.stack(layers, dim=1)


def test_a_signal_that_needs_values_gets_them(
    trace: Trace, reference: Tracer, options: dict[str, Any]
) -> None:
    tracer = with_signal(reference, ByValue())
    found = tracer.trace(MESSAGES, **options)
    assert found.token_ids == trace.token_ids
    assert found.spans[0].effects != trace.spans[0].effects
    *_, end = tracer.stream(MESSAGES, **options)
    assert end.trace.spans == found.spans  # type: ignore[union-attr]


class Broken(DepthWeighted):
    """Breaks one requirement from its third block on."""

    name = "broken"

    def __init__(self, how: str) -> None:
        self.how = how
        self.blocks = 0

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        self.blocks += 1
        found = super().reduce(rows, units)
        if self.blocks < 3:
            return found
        if self.how == "raises":
            raise KeyError("a bug")
        if self.how == "own error":
            raise InputError("the file is for another model")
        changed: dict[str, Any] = {
            "no tensor": found.tolist(),
            "whole numbers": found.long(),
            "units": found[:, :, :-1],
            "rows": found[:-1],
            "features": found[:, :-1],
            "flat": found[0],
            "nan": found * math.nan,
        }
        return changed.get(self.how, found)  # type: ignore[no-any-return]

    def effects_of(self, reduced: torch.Tensor, units: Sequence[SourceUnit]) -> dict[str, Effect]:
        found = super().effects_of(reduced, units)
        if self.how == "effects raise":
            raise ZeroDivisionError("a bug")
        if self.how == "unknown unit":
            return {**found, "text-99": Effect(1.0)}
        if self.how == "infinite effect":
            return dict.fromkeys(found, Effect(math.inf))
        return found


VIOLATIONS = [
    ("raises", "raised KeyError: 'a bug'"),
    ("no tensor", "returned a list"),
    ("whole numbers", "a Tensor of torch.int64"),
    ("units", r"of shape \[4, \d, 2\]; \[4, \d, 3\] was asked for"),
    ("rows", r"of shape \[3, \d, 3\]"),
    ("features", r"of shape \[4, \d, 3\]; \[4, \d, 3\] was asked for"),
    ("flat", r"of shape \[\d, 3\]"),
    ("nan", r"returned nan for generated token \d+, feature 0, unit 0"),
    ("effects raise", "raised ZeroDivisionError"),
    ("unknown unit", "an effect of the unknown unit 'text-99' for span 0"),
    ("infinite effect", "value=inf"),
]


@pytest.mark.parametrize(("how", "message"), VIOLATIONS)
def test_a_signal_that_breaks_its_contract_is_named_and_costs_no_text(
    reference: Tracer, options: dict[str, Any], how: str, message: str
) -> None:
    before = state(reference.adapter.model)
    tracer = with_signal(reference, Broken(how), block=4)
    with pytest.raises(ConformanceError, match=message) as raised:
        tracer.trace(MESSAGES, **options)
    assert str(raised.value).startswith("the signal 'broken' ")
    assert raised.value.text == ANSWER
    tracer = with_signal(reference, Broken(how), block=4)
    with pytest.raises(ConformanceError, match=message) as raised:
        list(tracer.stream(MESSAGES, **options))
    assert raised.value.text == ANSWER
    assert_unchanged(reference.adapter.model, before)


def test_an_error_of_our_own_passes_through_with_the_text(reference: Tracer) -> None:
    tracer = with_signal(reference, Broken("own error"), block=2)
    with pytest.raises(InputError, match="for another model") as raised:
        tracer.replay(MESSAGES, ANSWER)
    assert raised.value.text == ANSWER


class Foreign(DepthWeighted):
    def layers(self, available: Sequence[int]) -> Sequence[int]:
        raise InputError(f"made for 28 layers; the model has {len(available)}")


def test_a_signal_for_another_model_says_so_before_anything_runs(reference: Tracer) -> None:
    with pytest.raises(InputError, match="made for 28 layers; the model has "):
        with_signal(reference, Foreign()).trace(MESSAGES)


class Greedy(DepthWeighted):
    needs: frozenset[Need] = frozenset({"rows", "forwards"})


def test_what_a_live_span_signal_cannot_have_is_refused(reference: Tracer) -> None:
    with pytest.raises(ConformanceError, match="needs 'forwards'; a live span signal"):
        Tracer(adapter=reference.adapter, signal=Greedy())
    with pytest.raises(NotSupportedError, match="'depth-weighted' cannot contrast"):
        with_signal(reference, DepthWeighted()).replay(MESSAGES, ANSWER, against="The moon.")


def test_a_live_span_signal_is_described_as_one_that_streams() -> None:
    facts = describe(Entry("depth-weighted", DepthWeighted, "", "mine"))
    assert facts == SignalFacts("depth-weighted", "mine", "", ("rows",), "1× decoding", True)  # noqa: RUF001


def test_a_tracer_takes_a_live_span_signal(reference: Tracer) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=DepthWeighted())
    assert tracer.setup.live_signal is tracer.setup.signals.span
    assert tracer.streams
    assert tracer.setup.signals.token.name == "attention-mean"
