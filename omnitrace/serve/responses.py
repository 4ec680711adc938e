"""Responses that every part of the server gives: errors, and what FastAPI raises, in one form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from omnitrace.errors import OmnitraceError
from omnitrace.serve.errors import TooBusyError, describe, status_of
from omnitrace.serve.logs import one_line

__all__ = ["add_error_handlers", "error_response"]

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_response(error: BaseException, status: int | None = None) -> JSONResponse:
    """Return an error as JSON, in a form that clients of OpenAI understand too."""
    if status is None:
        status = status_of(error) if isinstance(error, OmnitraceError) else 500
    headers = {}
    if isinstance(error, TooBusyError):
        headers["Retry-After"] = str(error.retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _response(status, describe(error), headers)


def _response(
    status: int, described: dict[str, Any], headers: dict[str, str] | None = None
) -> JSONResponse:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    content = {"error": {**described, "type": kind, "param": None}}
    return JSONResponse(content, status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Have an application answer what it refuses in the form of :func:`error_response`."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        return error_response(error)

    async def malformed(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"] if each != "body")
        message = one_line(f"{place or 'the body'}: {first['msg']}", 300)
        return _response(
            400, {"code": "input", "message": message, "legal": "", "fix": "see the API's page"}
        )

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        words = {404: "there is nothing here", 405: "this cannot be done here"}
        message = words.get(error.status_code, one_line(str(error.detail)))
        code = {404: "not_found", 405: "not_allowed"}.get(error.status_code, "input")
        return _response(
            error.status_code, {"code": code, "message": message, "legal": "", "fix": ""}
        )

    app.add_exception_handler(OmnitraceError, known)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, of_http)
