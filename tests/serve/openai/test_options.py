"""The parameters of a request as options of the tracer."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from omnitrace import Tracer
from omnitrace.models.generation import generation_config
from omnitrace.serve.openai.errors import ApiError
from omnitrace.serve.openai.options import StopAtText, generation_options, template_options
from omnitrace.serve.openai.requests import ChatRequest, read_request


def asked(**given: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **given}
    return read_request(ChatRequest, json.dumps(body).encode())


def options(**given: Any) -> dict[str, Any]:
    return generation_options(asked(**given), None, 100)


def test_decoding_is_greedy_unless_sampling_is_asked_for() -> None:
    assert options() == {"max_new_tokens": None}
    assert options(temperature=0, top_p=0.5) == {"max_new_tokens": None}
    sampled = {"do_sample": True, "top_k": 0, "min_p": None}
    assert options(temperature=0.5) == {
        "max_new_tokens": None, "temperature": 0.5, "top_p": 1.0, **sampled,
    }  # fmt: skip
    assert options(top_p=0.5)["temperature"] == 1.0
    assert options(top_k=5)["top_k"] == 5


def test_the_length_is_bounded() -> None:
    assert options(max_completion_tokens=100)["max_new_tokens"] == 100
    with pytest.raises(ApiError) as caught:
        options(max_tokens=101)
    assert caught.value.param == "max_tokens"


def test_a_seed_may_be_negative() -> None:
    assert options(seed=-1)["seed"] == 2**64 - 1


def test_the_model_takes_every_option(reference: Tracer) -> None:
    given = options(temperature=0.7, top_p=0.9, min_p=0.1, repetition_penalty=1.1, max_tokens=3)
    given.pop("seed", None)
    config, rest = generation_config(reference.adapter.model, given)
    assert (config.do_sample, config.temperature, config.top_k) == (True, 0.7, 0)
    assert not rest


def test_a_response_ends_at_a_stop_text(reference: Tracer) -> None:
    tokenizer = reference.adapter.tokenizer
    ids = tokenizer("The lamp weighs five grams.", add_special_tokens=False)["input_ids"]
    stop = StopAtText(tokenizer, ["five gr", "never"])
    found = [bool(stop(torch.tensor([ids[: i + 1]]), None).item()) for i in range(len(ids))]
    assert found.index(True) == [tokenizer.decode([each]).strip() for each in ids].index("grams")


def test_the_template_is_not_the_clients(reference: Tracer) -> None:
    processor = reference.adapter.processor
    for name in ("chat_template", "add_generation_prompt", "tokenize", "tools"):
        with pytest.raises(ApiError) as caught:
            template_options(asked(chat_template_kwargs={name: "x"}), processor)
        assert caught.value.param == "chat_template_kwargs"
    thinks = {"enable_thinking": False}
    assert template_options(asked(chat_template_kwargs=thinks), processor) == {
        "chat_template_kwargs": thinks
    }


def test_tools_are_for_the_template(reference: Tracer) -> None:
    processor = reference.adapter.processor
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    assert template_options(asked(tools=tools), processor) == {"tools": tools}
    assert template_options(asked(tools=tools, tool_choice="none"), processor) == {}
