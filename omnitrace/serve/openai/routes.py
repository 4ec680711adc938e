"""The endpoints: chat completions, attributions of given responses, models, health, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from omnitrace.errors import OmnitraceError
from omnitrace.serve.api.client import client_key
from omnitrace.serve.jobs import Job, Task
from omnitrace.serve.log import Entry
from omnitrace.serve.logs import LOGGER, describe_defect
from omnitrace.serve.openai.asked import (
    attribution_of,
    chat_of,
    check_model,
    fetched,
    model_entry,
)
from omnitrace.serve.openai.errors import Failure, failure_of
from omnitrace.serve.openai.metrics import CONTENT_TYPE, Metrics
from omnitrace.serve.openai.requests import AttributionRequest, ChatRequest, read_request
from omnitrace.serve.openai.tellers import CHUNK, WHOLE
from omnitrace.serve.state import ServerState

__all__ = ["refusal", "router"]

_PING_SECONDS: Final = 10
# While a request waits longer than this its headers are sent, so that no proxy gives it up; what is
# wrong with it is then told in the stream, and no longer by the status.
_HEADERS_SECONDS: Final = 15.0
_GONE: Final = 499

_T = TypeVar("_T")
Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


class _Left(Exception):  # noqa: N818 - control flow, not an error
    """The client is gone."""


def router(state: ServerState) -> APIRouter:
    """Return the routes.

    Parameters
    ----------
    state:
        The server.
    """
    routes = APIRouter()
    metrics = Metrics(state)
    started = int(time.time())

    def endpoint(name: str) -> Callable[[Handler], Handler]:
        """Answer errors as OpenAI does, and count the answers."""

        def wrapped(handle: Handler) -> Handler:
            @functools.wraps(handle)
            async def answer(request: Request) -> Response:
                try:
                    response = await handle(request)
                except Exception as error:
                    response = _refusal(error, content=state.options.log_content)
                metrics.answered(name, response.status_code)
                return response

            return answer

        return wrapped

    @routes.post("/v1/chat/completions")
    @endpoint("chat")
    async def chat(request: Request) -> Response:
        body = await request.body()
        asked = await asyncio.to_thread(read_request, ChatRequest, body)
        del body
        media = await fetched(asked.messages, state.options)
        task = await asyncio.to_thread(chat_of, state, asked, media)
        job = _job(request, asked, task, state)
        headers = _submitted(job, state)
        return await (_streamed if asked.stream else _completed)(request, job, headers)

    @routes.post("/v1/attributions")
    @endpoint("attributions")
    async def attributions(request: Request) -> Response:
        body = await request.body()
        asked = await asyncio.to_thread(read_request, AttributionRequest, body)
        del body
        media = await fetched(asked.messages, state.options)
        task = await asyncio.to_thread(attribution_of, state, asked, media)
        job = _job(request, asked, task, state)
        return await _completed(request, job, _submitted(job, state))

    @routes.get("/v1/models")
    @endpoint("models")
    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model_entry(state, started)]})

    @routes.get("/v1/models/{model:path}")
    @endpoint("models")
    async def model(request: Request) -> Response:
        check_model(state, request.path_params["model"])
        return JSONResponse(model_entry(state, started))

    @routes.get("/healthz")
    async def healthz() -> Response:
        """Say whether requests are taken; it needs no token."""
        closing = state.queue.closing
        return JSONResponse({"status": "closing" if closing else "ok"}, 503 if closing else 200)

    @routes.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    return routes


def _job(
    request: Request, asked: ChatRequest | AttributionRequest, task: Task, state: ServerState
) -> Job:
    """Make the job of a request, for whom it counts."""
    key = request.headers.get("x-omnitrace-client")
    user = getattr(asked, "safety_identifier", None) or asked.user
    if key is not None:
        owner = client_key(key)
    elif user:
        owner = f"user {user}"
    else:
        owner = f"address {request.client.host if request.client else ''}"
    return state.job(owner, task)


def _submitted(job: Job, state: ServerState) -> dict[str, str]:
    """Let a job wait; return what its response says of the queue."""
    position = state.submit(job, kept=False)
    return {
        "x-request-id": f"req_{secrets.token_hex(12)}",
        "x-omnitrace-position": str(position),
        "x-omnitrace-wait": f"{state.queue.seconds_before(position):.2f}",
    }


async def _completed(request: Request, job: Job, headers: dict[str, str]) -> Response:
    """Wait for the whole response."""
    entry = await _while_connected(request, job, _last(job))
    if entry is not None and entry.type == WHOLE:
        return JSONResponse(dict(entry.data), headers=headers)
    return _response(_failed(job), headers)


async def _streamed(request: Request, job: Job, headers: dict[str, str]) -> Response:
    """Wait for the first chunk, so that the status says what is wrong; then stream."""
    with contextlib.suppress(TimeoutError):
        waiting = asyncio.wait_for(_first(job), _HEADERS_SECONDS)
        if not await _while_connected(request, job, waiting):
            return _response(_failed(job), headers)
    return EventSourceResponse(_chunks(job), headers=headers, ping=_PING_SECONDS, sep="\n")


async def _last(job: Job) -> Entry | None:
    """Follow a job to its end; return the response, if there is one."""
    found = None
    async with contextlib.aclosing(job.log.follow()) as batches:
        async for entries in batches:
            found = next((entry for entry in entries if entry.type == WHOLE), found)
    return found


async def _first(job: Job) -> bool:
    """Wait until a job has written something; return whether that is a chunk."""
    async with contextlib.aclosing(job.log.follow()) as batches:
        async for entries in batches:
            if any(entry.type == CHUNK for entry in entries):
                return True
    return False


async def _while_connected(request: Request, job: Job, work: Coroutine[Any, Any, _T]) -> _T:
    """Do something as long as the client is there; without it, the job is stopped."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise _Left
    except BaseException as error:
        if not isinstance(error, TimeoutError):
            job.cancel("abandoned")
        raise
    finally:
        for each in (working, leaving):
            each.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _chunks(job: Job) -> AsyncIterator[bytes]:
    """Yield server-sent events; who stops to read them stops the job."""
    try:
        async with contextlib.aclosing(job.log.follow()) as batches:
            async for entries in batches:
                if text := "".join(map(functools.partial(_event, job), entries)):
                    yield text.encode()
    finally:
        job.cancel("abandoned")


def _event(job: Job, entry: Entry) -> str:
    """Write an entry as a server-sent event; what is no chunk is a comment, or nothing."""
    if entry.type == CHUNK:
        return f"data: {_json(entry.data)}\n\n"
    if entry.type == "queued":
        return f": position {entry.data['position']}, about {entry.data['seconds']} s\n\n"
    if entry.type in ("failed", "cancelled"):
        return f"data: {_json(_failed(job).body())}\n\ndata: [DONE]\n\n"
    return "data: [DONE]\n\n" if entry.type == "end" else ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _failed(job: Job) -> Failure:
    """Return why there is no response."""
    if job.error is None:
        return Failure(_GONE, "The request was cancelled.")
    return failure_of(job.error)


def _refusal(error: Exception, *, content: bool) -> Response:
    if isinstance(error, _Left | ClientDisconnect):
        return _response(Failure(_GONE, "The client left."), {})
    if not isinstance(error, OmnitraceError):
        LOGGER.error("a request failed: %s", describe_defect(error, content=content))
    return refusal(error)


def refusal(error: Exception) -> Response:
    """Return an error as OpenAI's clients expect it."""
    return _response(failure_of(error), {})


def _response(failure: Failure, headers: dict[str, str]) -> Response:
    return JSONResponse(failure.body(), failure.status, {**headers, **failure.headers})
