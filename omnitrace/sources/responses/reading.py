"""Read responses as servers give them: a text, token ids, or the object of an API.

Read are chat completions and completions of OpenAI's API (``choices``), a line of its Batch API
(``response.body``), the Responses API (``output``), and what vLLM's ``LLM.generate`` returns
(``outputs``); as mappings, or as objects of the ``openai`` package. Nothing here knows a tokenizer:
what is read are the forms in which the response is there, from which the token ids are taken later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnitrace._utils.checks import check_text, check_whole
from omnitrace.errors import InputError
from omnitrace.sources.responses.given import GivenResponse, Response
from omnitrace.sources.responses.tokens import (
    FORMS,
    is_list,
    logprob_forms,
    named,
    read_ids,
    token_forms,
)

__all__ = ["read_response"]


def read_response(value: Response, choice: int = 0, where: str = "response") -> GivenResponse:
    """Read a response of any of the forms.

    Parameters
    ----------
    value:
        The response; what was read already is returned as it is.
    choice:
        Which choice of a response object is meant, by its ``index``.
    where:
        What the response is called in errors.

    Raises
    ------
    InputError
        That names the field which is missing or of another form, or what the server says failed.
    """
    check_whole("choice", choice, 0)
    if isinstance(value, GivenResponse):
        return value
    value = _plain(value)
    if isinstance(value, Mapping):
        return _of_object(value, choice, where)
    if choice:
        raise InputError(
            f"choice is {choice}, and {where} is no response object", legal="0, or no choice"
        )
    if isinstance(value, str):
        check_text(value, where)
        return GivenResponse(where, text=value)
    return GivenResponse(where, ids=read_ids(value, where), ids_at=where)


def _plain(value: Any) -> Any:
    """Return a mapping, a text or a sequence for the objects that stand for one."""
    if isinstance(value, Mapping | str):
        return value
    if callable(dump := getattr(value, "model_dump", None)):
        return dump()
    if hasattr(value, "outputs") and hasattr(value, "prompt_token_ids"):
        return {
            "prompt_token_ids": value.prompt_token_ids,
            "outputs": [_attributes(each) for each in value.outputs],
        }
    return value


def _attributes(output: Any) -> Any:
    """Return what is read of one output of vLLM, which is an object with attributes."""
    if isinstance(output, Mapping):
        return output
    names = ("index", "text", "token_ids", "finish_reason")
    return {name: getattr(output, name, None) for name in names}


def _of_object(value: Mapping[str, Any], choice: int, where: str) -> GivenResponse:
    """Read the object of an API, or the envelope that holds one."""
    if value.get("error") is not None:
        raise InputError(
            f"{where}.error says that the request failed: {_said(value['error'])}",
            fix="ask the server again, or leave this request out",
        )
    if "response" in value:
        return _of_envelope(value["response"], choice, f"{where}.response")
    if "choices" in value:
        return _of_choices(value, "choices", choice, where)
    if "outputs" in value:
        return _of_choices(value, "outputs", choice, where)
    if "output" in value:
        if choice:
            raise InputError(f"choice is {choice}, and {where} has one output", legal="0")
        return _of_output(value, where)
    if any(name in value for name in ("message", "token_ids", "text")):
        return _of_choice(value, value, where)
    found = ", ".join(map(repr, list(value)[:6])) or "no field"
    raise InputError(f"{where} has {found}", legal=FORMS)


def _of_envelope(inner: Any, choice: int, where: str) -> GivenResponse:
    """Read what a line of the Batch API, or of a file of responses, holds under ``response``."""
    if not (isinstance(inner, Mapping) and "body" in inner):
        return read_response(inner, choice, where)
    status = inner.get("status_code")
    if status not in (None, 200):
        raise InputError(
            f"{where}.status_code is {status!r}: {_said(inner['body'])}",
            legal="200",
            fix="ask the server again, or leave this request out",
        )
    return read_response(inner["body"], choice, f"{where}.body")


def _said(error: Any) -> str:
    """Return the message of an error object."""
    if isinstance(error, Mapping):
        error = error.get("error", error)
    if isinstance(error, Mapping):
        error = error.get("message") or dict(error)
    return str(error)[:300]


def _of_choices(value: Mapping[str, Any], name: str, choice: int, where: str) -> GivenResponse:
    choices = value[name]
    if not is_list(choices) or not all(isinstance(each, Mapping) for each in choices):
        raise InputError(f"{where}.{name} is {named(choices)}", legal="a list of objects")
    numbers = [each.get("index") for each in choices]
    if any(not isinstance(number, int) for number in numbers):
        numbers = list(range(len(choices)))
    if choice not in numbers:
        raise InputError(
            f"choice is {choice}, and {where}.{name} has {len(choices)}",
            legal=", ".join(map(str, numbers)) or "a response with a choice",
        )
    place = numbers.index(choice)
    return _of_choice(choices[place], value, f"{where}.{name}[{place}]", whole=where)


def _of_choice(
    choice: Mapping[str, Any], value: Mapping[str, Any], where: str, whole: str = ""
) -> GivenResponse:
    """Read a choice; ``value`` is the response object around it, called ``whole``."""
    if "delta" in choice:
        raise InputError(
            f"{where}.delta is a piece of a stream",
            legal="the whole response",
            fix="ask without stream=True, or join the pieces",
        )
    message = choice.get("message")
    if message is not None and not isinstance(message, Mapping):
        raise InputError(f"{where}.message is {named(message)}", legal="an object")
    text = thought = None
    if message is not None:
        text = _content(message, f"{where}.message")
        thought = _thought(message, f"{where}.message")
    elif choice.get("text") is not None:
        text = _text(choice["text"], f"{where}.text")
    forms = token_forms(choice, where)
    prompt_ids = None
    for holder, place in ((choice, where), (value, whole or where)):
        if prompt_ids is None and holder.get("prompt_token_ids") is not None:
            prompt_ids = read_ids(holder["prompt_token_ids"], f"{place}.prompt_token_ids")
    return GivenResponse(
        where,
        text=text,
        thought=thought,
        prompt_ids=prompt_ids,
        calls=bool(message and (message.get("tool_calls") or message.get("function_call"))),
        finished=choice.get("finish_reason") != "length",
        **forms,
    )


def _content(message: Mapping[str, Any], where: str) -> str | None:
    """Return the text of a message: its content, its parts of text, or how it refuses."""
    content = message.get("content")
    if content is None or content == "":
        refusal = message.get("refusal")
        return content if refusal is None else _text(refusal, f"{where}.refusal")
    if not is_list(content):
        return _text(content, f"{where}.content")
    return "".join(
        _text(part.get("text") if isinstance(part, Mapping) else part, f"{where}.content[{i}].text")
        for i, part in enumerate(content)
    )


def _thought(message: Mapping[str, Any], where: str) -> str | None:
    for name in ("reasoning", "reasoning_content"):
        if message.get(name):
            return _text(message[name], f"{where}.{name}")
    return None


def _of_output(value: Mapping[str, Any], where: str) -> GivenResponse:
    """Read a response of the Responses API: its items, in their order."""
    items = value["output"]
    if not is_list(items):
        raise InputError(f"{where}.output is {named(items)}", legal="a list of items")
    texts: list[str] = []
    thoughts: list[str] = []
    logprobs: list[Any] = []
    counted = True  # whether every text comes with its tokens
    calls = False
    for i, item in enumerate(items):
        kind = item.get("type") if isinstance(item, Mapping) else None
        if kind not in ("message", "reasoning"):
            calls = True
            continue
        for j, part in enumerate(item.get("content") or ()):
            place = f"{where}.output[{i}].content[{j}]"
            text = part.get("text", part.get("refusal")) if isinstance(part, Mapping) else part
            (texts if kind == "message" else thoughts).append(_text(text, f"{place}.text"))
            if kind == "message":
                found = part.get("logprobs")
                counted = counted and bool(found)
                logprobs += found or ()
    forms: dict[str, Any] = {}
    if counted and logprobs and not thoughts:  # they are the tokens of the answer alone
        forms = logprob_forms(logprobs, f"{where}.output.content.logprobs")
    return GivenResponse(
        f"{where}.output",
        text="".join(texts) if texts else None,
        thought="".join(thoughts) or None,
        calls=calls,
        finished=value.get("status") != "incomplete",
        **forms,
    )


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where} is {named(value)}", legal="a text")
    check_text(value, where)
    return value
