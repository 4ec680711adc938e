"""Runs: ask the model, follow what it writes, stop it, look at what it wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse

from omnitrace.errors import InputError
from omnitrace.report.view import trace_view
from omnitrace.serve.api.client import Client
from omnitrace.serve.api.requests import generation_of, title_of
from omnitrace.serve.api.schema import RunIn
from omnitrace.serve.errors import describe
from omnitrace.serve.jobs import Job
from omnitrace.serve.state import ServerState
from omnitrace.serve.tasks import Verification
from omnitrace.trace.trace import Trace

__all__ = ["finished_trace", "router", "state_of", "view_of"]

_PING_SECONDS: Final = 10
_STUCK_SECONDS: Final = 60  # a reader that takes nothing for so long is gone
_PLAYED_BYTES: Final = 16 * 2**20


def router(state: ServerState) -> APIRouter:
    """Return the routes of runs."""
    routes = APIRouter(prefix="/api/runs")

    @routes.post("")
    async def start(asked: RunIn, client: Client) -> dict[str, Any]:
        uploads, task = await asyncio.to_thread(generation_of, state, asked, client)
        job = state.job(client, task, title=title_of(asked))
        position = state.submit(job, uploads)
        return {"run": job.id, "position": position}

    @routes.get("")
    async def listed(client: Client) -> dict[str, Any]:
        return {"runs": [_listed(job) for job in state.jobs.of(client)]}

    @routes.get("/{run}")
    async def shown(run: str, client: Client) -> dict[str, Any]:
        job = state.jobs.get(client, run)
        job.log.touch()
        shown = {**_listed(job), "position": state.queue.position(job)}
        if job.error is not None:
            shown["error"] = describe(job.error)
        if not job.active or job.verifying:
            shown |= await asyncio.to_thread(_result, job)
        return shown

    @routes.get("/{run}/events")
    async def events(
        run: str,
        client: Client,
        after: Annotated[int, Query(ge=0)] = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> EventSourceResponse:
        job = state.jobs.get(client, run)
        if last_event_id is not None and last_event_id.isdecimal():
            after = max(after, int(last_event_id[:18]))
        return EventSourceResponse(
            _encoded(job, after), ping=_PING_SECONDS, sep="\n", send_timeout=_STUCK_SECONDS
        )

    @routes.post("/{run}/cancel")
    async def cancel(run: str, client: Client) -> dict[str, Any]:
        job = state.jobs.get(client, run)
        job.cancel()
        return _listed(job)

    @routes.delete("/{run}")
    async def remove(run: str, client: Client) -> dict[str, Any]:
        job = state.jobs.get(client, run)
        job.cancel()
        state.jobs.remove(job)
        return {"run": job.id, "removed": True}

    @routes.post("/{run}/verify")
    async def verify(run: str, client: Client) -> dict[str, Any]:
        job = state.jobs.get(client, run)
        position = state.submit_again(job, Verification(state.tracer))
        return {"run": job.id, "position": position}

    return routes


async def _encoded(job: Job, after: int) -> AsyncGenerator[bytes]:
    """Yield all that is new at once, so that a fast model costs no message a token."""
    async with aclosing(job.log.follow(after)) as batches:
        async for entries in batches:
            yield b"".join(entry.encoded for entry in entries)


def state_of(job: Job) -> str:
    """Return where a job is on its way, as its client is told."""
    return "verifying" if job.verifying else job.state


def finished_trace(job: Job) -> Trace:
    """Return the trace of a run.

    Raises
    ------
    InputError
        If the run is not done.
    """
    trace = job.trace
    if trace is None:
        raise InputError(f"the run is {job.state}, and has no trace", legal="a run that is done")
    return trace


def _result(job: Job) -> dict[str, Any]:
    """Return what the viewer shows of a run that is done."""
    trace = job.trace
    if trace is None:
        return {}
    return {
        "view": view_of(trace),
        "selection": trace.config.to_dict(),
        "verified": any(span.verdict is not None for span in trace.spans),
        "can_verify": bool(trace.spans and trace.units),
    }


def view_of(trace: Trace) -> dict[str, Any]:
    """Return what the viewer shows of a trace, with audio and video to be played while small."""
    playable = [each.read for each in trace.media if each.modality != "image"]
    size = sum(len(read()) for read in playable if read is not None)
    return trace_view(trace, media=size <= _PLAYED_BYTES)


def _listed(job: Job) -> dict[str, Any]:
    return {
        "run": job.id,
        "title": job.title,
        "state": state_of(job),
        "created": round(job.created, 3),
        "tokens": job.tokens,
    }
