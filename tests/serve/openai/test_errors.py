"""Errors in OpenAI's form, with the status by which its client tells them apart."""

from __future__ import annotations

import pytest

from omnitrace.errors import InputError, MediaError, ModelError, NotSupportedError, OmnitraceError
from omnitrace.serve.openai.errors import ApiError, failure_of

PART = "messages[2].content[1]"
TOO_LONG = InputError("the prompt has 9 tokens; m takes 5", legal="prompts of fewer than 5 tokens")


@pytest.mark.parametrize(
    ("error", "status", "param", "code"),
    [
        (ApiError("x", status=404, param="model", code="no_model"), 404, "model", "no_model"),
        (MediaError("the image is broken"), 400, "messages", "invalid_media"),
        (InputError('messages[2]["content"][1] is x'), 400, PART, "invalid_value"),
        (InputError("messages[2] has no role"), 400, "messages[2]", "invalid_value"),
        (InputError("seed is -1"), 400, None, "invalid_value"),
        (TOO_LONG, 400, "messages", "context_length_exceeded"),
        (NotSupportedError("x"), 400, None, "unsupported_value"),
        (ModelError("x"), 500, None, "internal_error"),
    ],
)  # fmt: skip
def test_each_error_has_its_status(
    error: OmnitraceError, status: int, param: str | None, code: str
) -> None:
    failure = failure_of(error)
    body = failure.body()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert (failure.status, body["param"], body["code"]) == (status, param, code)
    assert body["message"] == str(error)


def test_a_defect_says_nothing_of_itself_and_is_not_tried_again() -> None:
    failure = failure_of(RuntimeError("/secret/path"))
    assert failure.status == 500
    assert "secret" not in str(failure.body())
    assert failure.headers == {"x-should-retry": "false"}


def test_the_models_own_limit_is_told_as_such(reference: object) -> None:
    with pytest.raises(InputError) as caught:
        reference.adapter.check_length(10**6)  # type: ignore[attr-defined]
    assert failure_of(caught.value).code == "context_length_exceeded"
