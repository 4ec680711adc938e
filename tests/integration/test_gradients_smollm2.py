"""Gradients of SmolLM2-135M's decoding steps: all thirty layers, every step, grouped heads."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from omnitrace import Tracer
from tests.helpers.attention_gradients import assert_exact, stepwise, untraced

NOTE = "The tower is 324 metres tall. Gustave Eiffel built it in 1889. Dr. Smith saw it in 2003."
QUESTION = "How tall is the tower, and who built it?"


@pytest.fixture(scope="module")
def inputs(smollm2: Tracer) -> dict[str, torch.Tensor]:
    tokenizer = smollm2.adapter.tokenizer
    prompt: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": f"{NOTE}\n\n{QUESTION}"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    return dict(tokenizer(prompt, return_tensors="pt", add_special_tokens=False))


@pytest.mark.parametrize(("target", "new"), [("logit", 3), ("logprob", 2)])
def test_every_step_and_layer(
    smollm2: Tracer, inputs: dict[str, torch.Tensor], target: str, new: int
) -> None:
    # In float64: with thirty layers the order in which float32 is summed moved a gradient by 3e-4
    # of its layer's norm on one processor (AMD EPYC) and by less than 1e-4 on another.
    model: Any = copy.deepcopy(smollm2.adapter.model).double()
    ids, found = stepwise(model, inputs, new, target=target)
    assert ids == untraced(model, inputs, new)
    assert_exact(found, model, inputs, ids, target=target)


def test_sampled_ids_are_those_of_the_untraced_model(
    smollm2: Tracer, inputs: dict[str, torch.Tensor]
) -> None:
    settings = {"do_sample": True, "temperature": 0.9, "top_k": 40}
    torch.manual_seed(11)
    expected = untraced(smollm2.adapter.model, inputs, 12, **settings)
    torch.manual_seed(11)
    assert stepwise(smollm2.adapter.model, inputs, 12, **settings)[0] == expected


def test_grad_sam_finds_the_sentence_that_is_repeated(smollm2: Tracer) -> None:
    content = [{"type": "text", "text": NOTE}, {"type": "text", "text": QUESTION}]
    trace = Tracer(adapter=smollm2.adapter, signal="grad-sam").trace(
        [{"role": "user", "content": content}], max_new_tokens=16
    )
    assert "324" in trace.spans[0].text
    assert trace.spans[0].supports[0].unit.preview == "The tower is 324 metres tall."
