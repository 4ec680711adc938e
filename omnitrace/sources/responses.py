"""Read responses as servers give them: a text, token ids, or the object of an API.

Read are chat completions and completions of OpenAI's API (``choices``), a line of its Batch API
(``response.body``), the Responses API (``output``), and what vLLM's ``LLM.generate`` returns
(``outputs``); as mappings, or as objects of the ``openai`` package. Nothing here knows a tokenizer:
what is read are the forms in which the response is there, from which the token ids are taken later.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from omnitrace._utils.checks import check_text, check_whole
from omnitrace.errors import InputError

__all__ = ["GivenResponse", "Response", "ResponseIds", "read_response"]

# Where the token ids of a response come from.
ResponseIds: TypeAlias = Literal["given", "logprobs", "bytes", "text"]


class _Dumped(Protocol):
    """An object of the ``openai`` package, or another pydantic model."""

    def model_dump(self) -> dict[str, Any]: ...


class _Array(Protocol):
    """A numpy array or a tensor."""

    ndim: int

    def tolist(self) -> Any: ...


class _Offline(Protocol):
    """What vLLM's ``LLM.generate`` and ``LLM.chat`` return for each prompt."""

    prompt_token_ids: Any
    outputs: Any


#: A text, token ids, or the object of an API.
Response: TypeAlias = str | Sequence[int] | Mapping[str, Any] | _Array | _Dumped | _Offline

_TOKEN_ID: Final = "token_id:"
_FORMS: Final = (
    "a text, token ids, or a response object with 'choices' (OpenAI's chat completions), "
    "'response' (its Batch API), 'output' (its Responses API) or 'outputs' (vLLM's RequestOutput)"
)


@dataclass(frozen=True, slots=True)
class GivenResponse:
    """A response in all the forms in which it was given.

    Attributes
    ----------
    where:
        What it is called in errors, such as ``response.choices[0]``.
    text:
        The text, without the thoughts where ``thought`` is there; None where only ids were given.
    thought:
        What the server split off as reasoning.
    ids, ids_from, ids_at:
        Token ids; whether they stood as ids (``"given"``) or as ``token_id:N`` in place of the
        tokens' texts (``"logprobs"``); and the field.
    pieces:
        The bytes of each token, of the log-probabilities.
    prompt_ids:
        The token ids of the prompt, as the server had them.
    calls:
        Whether tools are called, in a parsed form.
    finished:
        False where the response was cut off at its longest length.
    """

    where: str
    text: str | None = None
    thought: str | None = None
    ids: tuple[int, ...] | None = None
    ids_from: Literal["given", "logprobs"] = "given"
    ids_at: str = ""
    pieces: tuple[bytes, ...] | None = None
    prompt_ids: tuple[int, ...] | None = None
    calls: bool = False
    finished: bool = True


def read_response(value: Response, choice: int = 0, where: str = "response") -> GivenResponse:
    """Read a response of any of the forms.

    Parameters
    ----------
    value:
        The response.
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
    return GivenResponse(where, ids=_ids(value, where), ids_at=where)


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
    raise InputError(f"{where} has {found}", legal=_FORMS)


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
    if not _is_list(choices) or not all(isinstance(each, Mapping) for each in choices):
        raise InputError(f"{where}.{name} is {_named(choices)}", legal="a list of objects")
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
        raise InputError(f"{where}.message is {_named(message)}", legal="an object")
    text = thought = None
    if message is not None:
        text = _content(message, f"{where}.message")
        thought = _thought(message, f"{where}.message")
    elif choice.get("text") is not None:
        text = _text(choice["text"], f"{where}.text")
    forms = _tokens(choice, where)
    prompt_ids = None
    for holder, place in ((choice, where), (value, whole or where)):
        if prompt_ids is None and holder.get("prompt_token_ids") is not None:
            prompt_ids = _ids(holder["prompt_token_ids"], f"{place}.prompt_token_ids")
    return GivenResponse(
        where,
        text=text,
        thought=thought,
        prompt_ids=prompt_ids,
        calls=bool(message and (message.get("tool_calls") or message.get("function_call"))),
        finished=choice.get("finish_reason") != "length",
        **forms,
    )


def _tokens(choice: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields for the ids of a choice, or for the bytes of its tokens."""
    if choice.get("token_ids") is not None:
        place = f"{where}.token_ids"
        return {"ids": _ids(choice["token_ids"], place), "ids_at": place}
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        return {}
    if logprobs.get("content"):
        return _logprobs(logprobs["content"], f"{where}.logprobs.content")
    if _is_list(logprobs.get("tokens")):  # of a completion
        entries = [{"token": each} for each in logprobs["tokens"]]
        return _logprobs(entries, f"{where}.logprobs.tokens")
    return {}


def _logprobs(entries: Any, where: str) -> dict[str, Any]:
    """Return the fields for the ids that log-probabilities name, or for their tokens' bytes."""
    ids: list[int] = []
    pieces: list[bytes] = []
    if not _is_list(entries):
        raise InputError(f"{where} is {_named(entries)}", legal="a list of objects")
    for number, entry in enumerate(entries):
        place = f"{where}[{number}]"
        token = entry.get("token") if isinstance(entry, Mapping) else None
        if not isinstance(token, str):
            raise InputError(f"{place}.token is {_named(token)}", legal="a text")
        if token.startswith(_TOKEN_ID) and token[len(_TOKEN_ID) :].isdecimal():
            ids.append(int(token[len(_TOKEN_ID) :]))
        else:
            pieces.append(_bytes(entry.get("bytes"), token, place))
    if ids and pieces:
        raise InputError(
            f"{where} names {len(ids)} tokens by id and {len(pieces)} by text", legal="one of both"
        )
    if ids:
        return {"ids": tuple(ids), "ids_from": "logprobs", "ids_at": where}
    return {"pieces": tuple(pieces)}


def _bytes(data: Any, token: str, where: str) -> bytes:
    """Return the bytes of a token: those of its text, where a server gives none."""
    if data is None:
        return token.encode("utf-8", "replace")
    try:
        return bytes([operator.index(byte) for byte in data])
    except (TypeError, ValueError):
        raise InputError(
            f"{where}.bytes is {data!r}"[:200], legal="whole numbers from 0 to 255, or null"
        ) from None


def _content(message: Mapping[str, Any], where: str) -> str | None:
    """Return the text of a message: its content, its parts of text, or how it refuses."""
    content = message.get("content")
    if content is None or content == "":
        refusal = message.get("refusal")
        return content if refusal is None else _text(refusal, f"{where}.refusal")
    if not _is_list(content):
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
    if not _is_list(items):
        raise InputError(f"{where}.output is {_named(items)}", legal="a list of items")
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
        forms = _logprobs(logprobs, f"{where}.output.content.logprobs")
    return GivenResponse(
        f"{where}.output",
        text="".join(texts) if texts else None,
        thought="".join(thoughts) or None,
        calls=calls,
        finished=value.get("status") != "incomplete",
        **forms,
    )


def _ids(value: Any, where: str) -> tuple[int, ...]:
    """Return token ids as whole numbers, from a list, an array or a tensor of one row."""
    given = value
    if hasattr(value, "tolist"):
        given = value.tolist()
        if getattr(value, "ndim", 1) == 2 and len(given) == 1:
            (given,) = given
    if not _is_list(given):
        raise InputError(f"{where} is {_named(value)}", legal=_FORMS)
    ids: list[int] = []
    for number, each in enumerate(given):
        try:
            if isinstance(each, bool):
                raise TypeError
            ids.append(operator.index(each))
        except TypeError:
            raise InputError(
                f"{where}[{number}] is {_named(each)}", legal="a token id, a whole number"
            ) from None
    return tuple(ids)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where} is {_named(value)}", legal="a text")
    check_text(value, where)
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _named(value: Any) -> str:
    """Show a value of an error, or say its type where it would be long."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:200]
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} {tuple(shape)}"
