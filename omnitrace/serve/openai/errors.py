"""Errors as OpenAI's clients expect them: ``{"error": {"message", "type", "param", "code"}}``.

The status decides which exception the ``openai`` package raises, ``param`` and ``code`` what a
program can tell of it. A client tries 408, 409, 429 and 5xx again by itself; what would fail
again in the same way carries ``x-should-retry: false``, which stops it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from omnitrace.errors import (
    ConformanceError,
    InputError,
    MediaError,
    NotSupportedError,
    OmnitraceError,
    PluginError,
    did_you_mean,
)
from omnitrace.serve.errors import ServeError, TooBusyError

__all__ = ["KINDS", "ApiError", "Failure", "failure_of", "invalid_request"]

_INVALID: Final = "invalid_request_error"
#: Type and code of an error of each status.
KINDS: Final[Mapping[int, tuple[str, str | None]]] = {
    400: (_INVALID, None),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "forbidden"),
    404: (_INVALID, "not_found"),
    405: (_INVALID, "not_allowed"),
    408: (_INVALID, "request_timeout"),
    413: (_INVALID, "request_too_large"),
    415: (_INVALID, "unsupported_media_type"),
    421: (_INVALID, "misdirected_request"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    431: (_INVALID, "headers_too_large"),
    499: (_INVALID, "request_cancelled"),
    500: ("server_error", "internal_error"),
    503: ("server_error", "unavailable"),
    504: ("server_error", "request_timeout"),
}
# What the model adapters say of a prompt that is too long.
_TOO_LONG: Final = "prompts of fewer than"
_PLACE: Final = re.compile(r'^messages\[(\d+)\](?:\["content"\]\[(\d+)\])?')


class ApiError(InputError):
    """A request that OpenAI's format allows to be named: its status, its parameter and a code.

    Parameters
    ----------
    found, legal, fix:
        As for :class:`~omnitrace.errors.OmnitraceError`.
    status:
        Of the HTTP response.
    param:
        The parameter, such as ``"messages[0].content[1].image_url"``.
    code:
        What a program can tell of it; None takes that of the status.
    """

    def __init__(
        self,
        found: str,
        *,
        legal: str = "",
        fix: str = "",
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        self.status = status
        self.param = param
        self.code = code
        super().__init__(found, legal=legal, fix=fix)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is sent.

    Attributes
    ----------
    status:
        Of the HTTP response.
    message, param, code:
        What the client shows and tells of it.
    headers:
        Beside those of every response.
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the body of the response."""
        kind, code = KINDS.get(
            self.status, (_INVALID if self.status < 500 else "server_error",) * 2
        )
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code or code,
            }
        }


def failure_of(error: BaseException) -> Failure:
    """Return what a client is told of an error; of a bug no more than that there was one."""
    if isinstance(error, ApiError):
        return Failure(error.status, str(error), error.param, error.code)
    if isinstance(error, MediaError):
        return Failure(400, str(error), _param(error) or "messages", "invalid_media")
    if isinstance(error, InputError):
        if error.legal.startswith(_TOO_LONG):
            return Failure(400, str(error), "messages", "context_length_exceeded")
        return Failure(400, str(error), _param(error), "invalid_value")
    if isinstance(error, PluginError) and not isinstance(error, ConformanceError):
        return Failure(400, str(error), "attribution", "unknown_name")
    if isinstance(error, NotSupportedError):
        return Failure(400, str(error), _param(error), "unsupported_value")
    if isinstance(error, ServeError):
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        if isinstance(error, TooBusyError):
            headers["Retry-After"] = str(error.retry_after)
        return Failure(error.status, str(error), headers=headers)
    again = {"x-should-retry": "false"}
    if isinstance(error, OmnitraceError):
        return Failure(500, str(error), headers=again)
    return Failure(500, "The server failed at this request.", headers=again)


def _param(error: OmnitraceError) -> str | None:
    """Return the parameter that an error of the reader names."""
    found = _PLACE.match(error.found)
    if found is None:
        return "messages" if error.found.startswith(("messages", "the request")) else None
    message, part = found.groups()
    return f"messages[{message}]" + (f".content[{part}]" if part is not None else "")


def invalid_request(error: ValidationError, given: Any, known: Sequence[str]) -> ApiError:
    """Return what is wrong with a body that its schema refuses.

    Parameters
    ----------
    error:
        Of pydantic; of its complaints the deepest is told, which is of the form that was meant
        where there are several.
    given:
        The body as it came; None where it is no JSON.
    known:
        Names of the parameters, for the question which was meant.
    """
    complaints = error.errors(include_url=False, include_context=False)
    first = max(complaints, key=lambda each: len(each["loc"]))
    param, value = _walked(first["loc"], given)
    kind = first["type"]
    if kind == "json_invalid":
        return ApiError(f"the body is no JSON: {first['msg']}", legal="one JSON object")
    if kind == "extra_forbidden":
        top = "." not in param and "[" not in param
        return ApiError(
            f"there is no parameter {param!r}",
            fix=(did_you_mean(param, known) if top else "") or "leave it out",
            param=param,
            code="unknown_parameter",
        )
    if kind == "missing":
        return ApiError(
            f"the parameter {param!r} is missing", param=param, code="missing_required_parameter"
        )
    said = str(first["msg"]).removeprefix("Value error, ")
    return ApiError(
        f"{param or 'the body'} is {_shown(value)}",
        legal=said.removeprefix("Input should be ").removeprefix("a valid "),
        param=param or None,
        code="invalid_type" if kind.endswith("_type") else "invalid_value",
    )


def _walked(loc: Sequence[str | int], given: Any) -> tuple[str, Any]:
    """Follow the place of a complaint through the body; tags of unions are no part of it."""
    path, value = "", given
    for number, step in enumerate(loc):
        last = number == len(loc) - 1
        listed = number > 0 and isinstance(loc[number - 1], int)
        if listed and isinstance(value, Mapping) and value.get("type") == step and not last:
            continue  # the kind of a part
        if isinstance(step, int) and isinstance(value, list) and step < len(value):
            path, value = f"{path}[{step}]", value[step]
        elif isinstance(step, str) and isinstance(value, Mapping):
            if step in value:
                path, value = f"{path}.{step}" if path else step, value[step]
            elif last:
                path, value = f"{path}.{step}" if path else step, None
    return path, value


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str | int | float | bool):
        text = repr(value)
        return text if len(text) <= 80 else f"{text[:60]}…"
    return f"of type {'object' if isinstance(value, Mapping) else type(value).__name__}"
