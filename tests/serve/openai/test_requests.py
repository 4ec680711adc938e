"""Each parameter works, is accepted, or is refused by its name."""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import pytest
from openai.types.chat import completion_create_params
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from omnitrace.serve.openai.errors import ApiError
from omnitrace.serve.openai.requests import (
    REFUSED,
    AttributionRequest,
    ChatRequest,
    read_request,
)

HELLO = [{"role": "user", "content": "Hello"}]


def read(**given: Any) -> ChatRequest:
    body = {"model": "reference", "messages": HELLO, **given}
    return read_request(ChatRequest, json.dumps(body).encode())


def refused(**given: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(**given)
    assert caught.value.status == 400
    return caught.value


def test_every_parameter_of_openai_is_known() -> None:
    theirs = {
        *CompletionCreateParamsNonStreaming.__annotations__,
        *CompletionCreateParamsStreaming.__annotations__,
        *completion_create_params.CompletionCreateParamsBase.__annotations__,
    }
    assert len(theirs) > 30
    assert theirs <= {*ChatRequest.model_fields, *REFUSED}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("n", True),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"5": 1}),
        ("frequency_penalty", 0.5),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("reasoning_effort", "low"),
        ("web_search_options", {}),
        ("functions", [{"name": "f"}]),
    ],
)
def test_what_there_is_not_is_refused_by_its_name(name: str, value: Any) -> None:
    error = refused(**{name: value})
    assert error.param == name
    assert error.code == "unsupported_parameter"
    assert error.fix


def test_values_that_ask_for_nothing_are_accepted() -> None:
    for name, (values, _) in REFUSED.items():
        for value in (None, *values):
            assert read(**{name: value}).model == "reference"


def test_what_has_no_effect_is_accepted() -> None:
    read(
        user="u", metadata={"a": "b"}, store=True, service_tier="auto", safety_identifier="s",
        prompt_cache_key="k", parallel_tool_calls=False, prediction={"type": "content"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"temperatur": 1}, "temperatur", "unknown_parameter"),
        ({"temperature": "1"}, "temperature", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"stream_options": {"x": 1}}, "stream_options.x", "unknown_parameter"),
        ({"attribution": {"signals": "x"}}, "attribution.signals", "unknown_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "txt": "x"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
            "missing_required_parameter",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "", "path": "/"}]}
                ]
            },
            "messages[0].content[0].path",
            "unknown_parameter",
        ),
    ],
)
def test_errors_name_the_parameter(given: dict[str, Any], param: str, code: str) -> None:
    error = refused(**given)
    assert (error.param, error.code) == (param, code)


def test_a_near_name_is_offered() -> None:
    assert "did you mean 'temperature'" in refused(temperatur=1).fix


def test_an_unknown_kind_of_part_is_refused_at_its_place() -> None:
    part = {"type": "image", "image": "/etc/passwd"}
    error = refused(messages=[{"role": "user", "content": [part]}])
    assert error.param == "messages[0].content[0]"
    assert "image_url" in error.legal


@pytest.mark.parametrize(
    "given",
    [
        {"max_tokens": 3, "max_completion_tokens": 4},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stop": ""},
        {"stream_options": {"include_usage": True}},
    ],
)
def test_parameters_must_agree(given: dict[str, Any]) -> None:
    assert refused(**given).code == "invalid_value"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"a": NaN}', b"\xff", b"[" * 5000, rb'{"model": "\ud800"}'],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        read_request(ChatRequest, body)
    assert caught.value.code == "invalid_json"


def test_one_text_and_several_stop() -> None:
    assert read(stop="x").stops == ("x",)
    assert read(stop=["x", "y"]).stops == ("x", "y")
    assert read().stops == ()


def test_both_names_of_the_length() -> None:
    assert read(max_tokens=3).new_tokens == 3
    assert read(max_completion_tokens=4).new_tokens == 4
    assert read().new_tokens is None


def test_a_response_may_be_text_ids_or_an_object() -> None:
    for response in ("A.", [1, 2], {"choices": []}):
        body = {"model": "m", "messages": HELLO, "response": response}
        found = read_request(AttributionRequest, json.dumps(body).encode())
        assert found.response == response


def test_an_attribution_request_does_not_generate() -> None:
    body = {"model": "m", "messages": HELLO, "response": "A.", "temperature": 1}
    with pytest.raises(ApiError) as caught:
        read_request(AttributionRequest, json.dumps(body).encode())
    assert caught.value.param == "temperature"


def test_schemas_describe_openais_types() -> None:
    # Roles and kinds of parts are among those of the client's own types.
    hints = get_type_hints(completion_create_params.CompletionCreateParamsBase)
    assert "messages" in hints
    assert get_args(hints["messages"])
