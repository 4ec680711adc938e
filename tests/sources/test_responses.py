"""Every shape in which a response may come, and what is said of one that cannot be read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from openai.types.responses import Response

from omnitrace import InputError
from omnitrace.sources import GivenResponse, read_response
from tests.helpers.server_responses import chat, completion

IDS = (5, 6, 7)
TOKEN = {"token": " a", "bytes": [32, 97], "logprob": -1.0, "top_logprobs": []}
NAMED = {**TOKEN, "token": "token_id:5", "bytes": None}


@pytest.mark.parametrize(
    "ids",
    [
        list(IDS),
        IDS,
        range(5, 8),
        np.array(IDS),
        np.array([IDS], dtype=np.uint16),
        [np.int64(i) for i in IDS],
        torch.tensor(IDS),
        torch.tensor([IDS]),
    ],
    ids=lambda ids: type(ids).__name__,
)
def test_token_ids(ids: Any) -> None:
    assert read_response(ids) == GivenResponse("response", ids=IDS, ids_at="response")


def test_the_most_exact_form_is_read_first() -> None:
    logprobs = {"content": [TOKEN], "refusal": None}
    every = {"content": "a", "token_ids": [*IDS], "logprobs": logprobs}
    found = read_response(chat(every, prompt_token_ids=[1, 2]))
    assert (found.ids, found.ids_from, found.prompt_ids) == (IDS, "given", (1, 2))
    assert found.ids_at == "response.choices[0].token_ids"
    named = read_response(chat({"content": "a", "logprobs": {"content": [NAMED]}}))
    assert (named.ids, named.ids_from, named.pieces) == ((5,), "logprobs", None)
    pieces = read_response(chat({"content": "a", "logprobs": logprobs}))
    assert (pieces.ids, pieces.pieces, pieces.text) == (None, (b" a",), "a")


def test_a_choice_is_found_by_its_index() -> None:
    two = chat({"content": "a"}, {"content": "b", "finish_reason": "length"}).model_dump()
    two["choices"].reverse()
    found = read_response(two, 1)
    assert (found.where, found.text, found.finished) == ("response.choices[0]", "b", False)
    assert read_response(two).finished
    with pytest.raises(InputError, match=r"choice is 2, and response\.choices has 2.*Legal: 1, 0"):
        read_response(two, 2)
    with pytest.raises(InputError, match="choice is 1, and response is no response object"):
        read_response("a", 1)


def test_thoughts_are_kept_apart() -> None:
    for name in ("reasoning", "reasoning_content"):
        found = read_response(chat({"content": "a", name: "hm"}))
        assert (found.thought, found.text) == ("hm", "a")


def test_other_texts_of_a_message() -> None:
    assert read_response(chat({"refusal": "No."})).text == "No."
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_response({"choices": [{"message": {"content": parts}}]}).text == "ab"
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert read_response(chat({"tool_calls": [call]})).calls


def test_a_completion() -> None:
    found = read_response(completion("a", token_ids=[5], prompt_token_ids=[1]))
    assert (found.text, found.ids, found.prompt_ids) == ("a", (5,), (1,))
    tokens = {"tokens": ["token_id:5", "token_id:6"], "token_logprobs": [-1.0, -1.0]}
    assert read_response(completion("a", logprobs=tokens)).ids == (5, 6)
    tokens["tokens"] = [" a", "b"]
    assert read_response(completion("ab", logprobs=tokens)).pieces == (b" a", b"b")


def test_a_line_of_the_batch_api() -> None:
    line = {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 200, "body": chat({"content": "a"}).model_dump(mode="json")},
        "error": None,
    }
    found = read_response(json.loads(json.dumps(line)))
    assert (found.text, found.where) == ("a", "response.response.body.choices[0]")
    line["response"] = {"status_code": 429, "body": {"error": {"message": "slow down"}}}
    with pytest.raises(InputError, match=r"response\.response\.status_code is 429: slow down"):
        read_response(line)
    line |= {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
    with pytest.raises(InputError, match=r"response\.error says .* failed: too late"):
        read_response(line)


def test_the_responses_api() -> None:
    text = {"type": "output_text", "text": "ab", "annotations": [], "logprobs": [TOKEN, TOKEN]}
    message = {"type": "message", "id": "1", "role": "assistant", "status": "completed"}
    thought = {"type": "reasoning", "id": "2", "summary": [{"type": "summary_text", "text": "s"}]}
    value = {
        "id": "r",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "status": "incomplete",
        "output": [thought, {**message, "content": [text]}],
    }
    found = read_response(Response.model_validate(value))
    assert (found.text, found.thought, found.finished) == ("ab", None, False)
    assert found.pieces == (b" a", b" a")
    thought["content"] = [{"type": "reasoning_text", "text": "hm"}]
    found = read_response(Response.model_validate(value))
    assert (found.thought, found.pieces) == ("hm", None)


def test_what_vllm_returns_offline() -> None:
    output = SimpleNamespace(index=0, text="a", token_ids=[5], finish_reason="length", logprobs=[])
    found = read_response(SimpleNamespace(prompt_token_ids=[1], outputs=[output]))  # type: ignore[arg-type]
    assert (found.ids, found.prompt_ids, found.finished) == ((5,), (1,), False)
    dumped = {"prompt_token_ids": [1], "outputs": [vars(output)]}
    assert read_response(dumped) == found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "response is None"),
        (3.5, r"response is 3\.5"),
        ({5}, "response is set"),
        ([5, 1.5], r"response\[1\] is 1\.5"),
        ([True], r"response\[0\] is True"),
        (np.array([1.5]), r"response\[0\] is 1\.5"),
        (torch.tensor([[1], [2]]), r"response\[0\] is list"),
        ({}, "response has no field"),
        ({"id": "a", "answer": 1}, "response has 'id', 'answer'"),
        ({"choices": None}, r"response\.choices is None"),
        ({"choices": []}, r"response\.choices has 0"),
        ({"choices": [{"delta": {}}]}, r"response\.choices\[0\]\.delta is a piece of a stream"),
        ({"choices": [{"message": "a"}]}, r"response\.choices\[0\]\.message is 'a'"),
        ({"choices": [{"message": {"content": 1}}]}, r"choices\[0\]\.message\.content is 1"),
        ({"choices": [{"token_ids": [1, "x"]}]}, r"choices\[0\]\.token_ids\[1\] is 'x'"),
        ({"token_ids": [1], "prompt_token_ids": "x"}, r"response\.prompt_token_ids is 'x'"),
        ({"logprobs": {"content": [{}]}, "text": "a"}, r"content\[0\]\.token is None"),
        (
            {"logprobs": {"content": [{"token": "a", "bytes": [256]}]}, "text": "a"},
            r"response\.logprobs\.content\[0\]\.bytes is \[256\]",
        ),
        ({"logprobs": {"content": [NAMED, TOKEN]}, "text": "a"}, "names 1 tokens by id and 1 by"),
        ({"output": "a"}, r"response\.output is 'a'"),
        ({"text": "\ud800"}, r"response\.text holds half of a surrogate pair"),
        ({"error": {"message": "no such model"}}, "failed: no such model"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_named(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_response(value)
