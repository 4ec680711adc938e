"""The gradient by a soft mask: its ends are the operator's, its middle is a finite difference's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from omnitrace import InputError, NotSupportedError, Tracer
from omnitrace.ablation import ablated_logprobs
from omnitrace.signals.mask_gradient import MaskGradient, softly_hidden
from omnitrace.testing import SpanSignalConformance
from omnitrace.testing.harness import SignalHarness
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.tiny_models import FAMILIES, tiny
from tests.helpers.tiny_scorer import scorer, span

KEEP = torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)


class TestMaskGradient(SpanSignalConformance):
    def make_harness(self) -> SignalHarness:
        return SignalHarness(MaskGradient())


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_whole_and_nothing_are_what_the_operator_measures(family: str) -> None:
    made = scorer(tiny(family))
    expected = ablated_logprobs(made, KEEP, operator="attention")
    with torch.no_grad():
        found = torch.stack([softly_hidden(made, keep.float()) for keep in KEEP])
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-4)


def difference(made: Any, unit: int, at: float, step: float = 0.01) -> torch.Tensor:
    """Return the change of each token's log-probability by one unit, from both sides."""
    ends = []
    for sign in (1, -1):
        seen = torch.full((3,), at)
        seen[unit] += sign * step
        with torch.no_grad():
            ends.append(softly_hidden(made, seen))
    return (ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize("at", [0.5, 0.8])
@pytest.mark.parametrize("family", ["llama", "mistral-sliding", "gemma2-softcap-eager"])
def test_effects_are_derivatives(family: str, at: float) -> None:
    model = tiny(family)
    with torch.no_grad():
        for parameter in model.parameters():  # smooth enough for differences
            if parameter.dim() > 1:
                parameter.div_(2)
    made = scorer(model)
    before, forwards = state(model), made.forwards
    spans = [span(0, 2), span(2, 5), span(3, 3)]
    found = MaskGradient(at).effects(made, spans)
    assert made.forwards == forwards + 1
    assert_unchanged(model, before)
    largest = max(abs(effect.value) for each in found for effect in each.values())
    for unit, name in enumerate(made.units):
        by_token = difference(made, unit, at)
        for each, where in zip(found, spans, strict=True):
            expected = float(by_token[where.token_start : where.token_end].sum())
            assert each[name].value == pytest.approx(expected, abs=0.02 * largest)
    assert largest > 1e-3


def test_a_contrast_is_differentiated() -> None:
    model = tiny("llama")
    both, one = scorer(model, foils=[1, None, None, None, None]), scorer(model)
    (derived,) = MaskGradient().effects(both, [span(1, 5)])
    assert {effect.value for effect in derived.values()} == {0.0}
    (derived,), (plain,) = (MaskGradient().effects(each, [span(0, 1)]) for each in (both, one))
    assert derived != plain


def test_a_trace_says_where_it_was_taken(reference: Tracer) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=MaskGradient(0.25))
    content = [
        {"type": "text", "text": "The lamp weighs seven grams. The cup weighs five grams."},
        {"type": "text", "text": "What does the lamp weigh?"},
    ]
    asked = [{"role": "user", "content": content}]
    trace = tracer.replay(asked, "The lamp weighs seven grams.")
    assert trace.provenance.signal["parameters"] == {"at": 0.25}
    assert trace.spans[0].effects is not None
    assert set(trace.spans[0].effects) == {unit.id for unit in trace.units}


@pytest.mark.parametrize("at", [0.0, -1.0, 1.5, float("nan")])
def test_places_that_are_none(at: float) -> None:
    with pytest.raises(InputError, match="at is"):
        MaskGradient(at)


def test_a_decoder_that_looks_ahead_is_refused() -> None:
    made = scorer(tiny("llama"))
    made.reach.causal = False
    with pytest.raises(NotSupportedError, match="look ahead"):
        MaskGradient().effects(made, [span(0, 2)])
