"""The tokens of a response: its ids, or what log-probabilities say of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final

from omnitrace.errors import InputError

__all__ = ["FORMS", "is_list", "logprob_forms", "named", "read_ids", "token_forms"]

_TOKEN_ID: Final = "token_id:"
#: What a response may be.
FORMS: Final = (
    "a text, token ids, or a response object with 'choices' (OpenAI's chat completions), "
    "'response' (its Batch API), 'output' (its Responses API) or 'outputs' (vLLM's RequestOutput)"
)


def token_forms(choice: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields for the ids of a choice, or for the bytes of its tokens."""
    if choice.get("token_ids") is not None:
        place = f"{where}.token_ids"
        return {"ids": read_ids(choice["token_ids"], place), "ids_at": place}
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        return {}
    if logprobs.get("content"):
        return logprob_forms(logprobs["content"], f"{where}.logprobs.content")
    if is_list(logprobs.get("tokens")):  # of a completion
        entries = [{"token": each} for each in logprobs["tokens"]]
        return logprob_forms(entries, f"{where}.logprobs.tokens")
    return {}


def logprob_forms(entries: Any, where: str) -> dict[str, Any]:
    """Return the fields for the ids that log-probabilities name, or for their tokens' bytes."""
    ids: list[int] = []
    pieces: list[bytes] = []
    if not is_list(entries):
        raise InputError(f"{where} is {named(entries)}", legal="a list of objects")
    for number, entry in enumerate(entries):
        place = f"{where}[{number}]"
        token = entry.get("token") if isinstance(entry, Mapping) else None
        if not isinstance(token, str):
            raise InputError(f"{place}.token is {named(token)}", legal="a text")
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


def read_ids(value: Any, where: str) -> tuple[int, ...]:
    """Return token ids as whole numbers, from a list, an array or a tensor of one row."""
    given = value
    if hasattr(value, "tolist"):
        given = value.tolist()
        if getattr(value, "ndim", 1) == 2 and len(given) == 1:
            (given,) = given
    if not is_list(given):
        raise InputError(f"{where} is {named(value)}", legal=FORMS)
    ids: list[int] = []
    for number, each in enumerate(given):
        try:
            if isinstance(each, bool):
                raise TypeError
            ids.append(operator.index(each))
        except TypeError:
            raise InputError(
                f"{where}[{number}] is {named(each)}", legal="a token id, a whole number"
            ) from None
    return tuple(ids)


def is_list(value: Any) -> bool:
    """Whether a value is a sequence, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def named(value: Any) -> str:
    """Show a value of an error, or say its type where it would be long."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:200]
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} {tuple(shape)}"
