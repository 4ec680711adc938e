"""Every built-in signal on a model in bfloat16, against the same weights in float32."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from omnitrace import Tracer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.reference.training.build import build_tokenizer
from omnitrace.testing.padding import tiny_model
from tests.helpers.builtin_signals import BUILTIN_TOKEN_SIGNALS

MESSAGES = [{"role": "user", "content": "The red lamp is in the kitchen. Where is the lamp?"}]
ANSWER = "The lamp is in the kitchen."


def adapter(dtype: torch.dtype) -> CausalLMAdapter:
    tokenizer = build_tokenizer()
    model = copy.deepcopy(tiny_model(len(tokenizer))).to(torch.bfloat16)
    return CausalLMAdapter(model.to(dtype), tokenizer)


@pytest.mark.parametrize("signal", BUILTIN_TOKEN_SIGNALS)
def test_scores_are_those_of_float32_up_to_rounding(signal: str) -> None:
    """Bfloat16 has eight bits; what is left of four sharp layers is within a tenth."""
    exact = Tracer(adapter=adapter(torch.float32), signal=signal).replay(MESSAGES, ANSWER)
    tracer = Tracer(adapter=adapter(torch.bfloat16), signal=signal)
    replayed = tracer.replay(MESSAGES, ANSWER)
    assert replayed.provenance.dtype == "bfloat16"
    assert replayed.scores.dtype == np.float32
    apart = np.linalg.norm(replayed.scores - exact.scores, axis=1)
    assert (apart <= 0.1 * np.linalg.norm(exact.scores, axis=1)).all(), apart
    live = tracer.trace(MESSAGES, max_new_tokens=5)
    again = tracer.replay(MESSAGES, live.token_ids)
    apart = np.linalg.norm(again.scores - live.scores, axis=1)
    assert (apart <= 0.1 * np.linalg.norm(live.scores, axis=1)).all(), apart
