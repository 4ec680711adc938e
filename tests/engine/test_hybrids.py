"""Traces of models with states: rows, verified supports, and what is refused."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

from omnitrace import NotSupportedError, Tracer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.reference.training.build import build_tokenizer
from tests.helpers.hybrid_models import FAMILIES, hybrid

QUESTION = [
    {"role": "user", "content": "The lamp is red. The cup weighs nine grams. Which colour is it?"}
]


@functools.cache
def tracer(family: str) -> Tracer:
    tokenizer = build_tokenizer()
    model = hybrid(family, vocab_size=len(tokenizer))
    return Tracer(adapter=CausalLMAdapter(model, tokenizer))


@pytest.mark.parametrize("family", FAMILIES)
def test_supports_are_verified(family: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # "the supports are not verified: …"
        trace = tracer(family).trace(QUESTION, max_new_tokens=8)
    assert trace.provenance.signal["verify"]["passes"] > 0
    assert all(span.effects is not None for span in trace.spans)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_live_trace_is_replayed(family: str) -> None:
    quick = tracer(family).with_options(signal="attention-mean")
    live = quick.trace(QUESTION, max_new_tokens=8)
    replayed = quick.replay(QUESTION, live.token_ids)
    np.testing.assert_allclose(replayed.scores, live.scores, atol=1e-5)


@pytest.mark.parametrize("signal", ["grad-sam", "mask-gradient"])
@pytest.mark.parametrize("family", FAMILIES)
def test_signals_that_would_need_the_states_are_refused(family: str, signal: str) -> None:
    with pytest.raises(NotSupportedError, match="carry what they have read in"):
        tracer(family).with_options(signal=signal).trace(QUESTION, max_new_tokens=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_with_states_alone_give_no_rows(family: str) -> None:
    measured = tracer(family).with_options(signal="verified").trace(QUESTION, max_new_tokens=8)
    assert all(span.effects is not None for span in measured.spans)
