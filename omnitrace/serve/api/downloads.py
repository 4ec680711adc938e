"""What a run that is done leaves: its trace, its report, its exports, and other selections."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from omnitrace.attribution.selection import SelectionConfig
from omnitrace.errors import InputError
from omnitrace.export.base import ExportedFile, exported_files
from omnitrace.report.html import render_report
from omnitrace.serve.api.client import Client
from omnitrace.serve.api.runs import finished_trace, view_of
from omnitrace.serve.jobs import Job
from omnitrace.serve.state import ServerState
from omnitrace.trace.trace import Trace

__all__ = ["router"]

#: Fields of a ``SelectionConfig`` as JSON: what is saved is what the page shows.
Chosen: TypeAlias = Annotated[str | None, Query(max_length=2000)]
_ZIP: Final = "application/zip"
_TYPES: Final = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown; charset=utf-8",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt; charset=utf-8",
}


def router(state: ServerState) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/runs/{run}")

    @routes.post("/selection")
    async def select(run: str, asked: dict[str, Any], client: Client) -> dict[str, Any]:
        job = state.jobs.get(client, run)
        return await asyncio.to_thread(_selected, job, asked)

    @routes.get("/trace.omnitrace")
    async def trace(run: str, client: Client, selection: Chosen = None) -> Response:
        job = state.jobs.get(client, run)
        name = f"{_name(job)}.omnitrace"
        if selection is not None:
            return _attached(await asyncio.to_thread(_saved, _trace(job, selection)), name, _ZIP)
        path = await asyncio.to_thread(_written, state, job)
        return FileResponse(path, media_type=_ZIP, filename=name)

    @routes.get("/report.html")
    async def report(run: str, client: Client, selection: Chosen = None) -> Response:
        job = state.jobs.get(client, run)
        page = await asyncio.to_thread(lambda: _report(_trace(job, selection)))
        return _attached(page.encode(), f"{_name(job)}.html", "text/html; charset=utf-8")

    @routes.get("/export/{to}")
    async def export(run: str, to: str, client: Client, selection: Chosen = None) -> Response:
        job = state.jobs.get(client, run)
        files = await asyncio.to_thread(
            lambda: list(exported_files([(_name(job), _trace(job, selection))], to))
        )
        if len(files) == 1:
            ending = Path(files[0].name).suffix
            return _attached(
                files[0].data,
                f"{_name(job)}{ending}" if ending.isascii() else _name(job),
                _TYPES.get(ending, "application/octet-stream"),
            )
        packed = await asyncio.to_thread(_packed, files)
        return _attached(packed, f"{_name(job)}-{len(files)}-files.zip", _ZIP)

    return routes


def _selected(job: Job, asked: dict[str, Any]) -> dict[str, Any]:
    """Select supports again; nothing of the run changes."""
    trace = _reselected(finished_trace(job), asked)
    return {"view": view_of(trace), "selection": trace.config.to_dict()}


def _reselected(trace: Trace, asked: dict[str, Any]) -> Trace:
    kept = {"fitted_to": trace.config.fitted_to}  # what a threshold was fitted to, nobody chooses
    return trace.reselect(SelectionConfig.from_dict({**trace.config.to_dict(), **asked, **kept}))


def _trace(job: Job, selection: str | None) -> Trace:
    """Return the trace of a run, as another selection has it where one is asked for."""
    trace = finished_trace(job)
    if selection is None:
        return trace
    try:
        asked = json.loads(selection)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise InputError(
            "the selection is no JSON object", legal="fields of SelectionConfig as JSON"
        )
    return _reselected(trace, asked)


def _saved(trace: Trace) -> bytes:
    with tempfile.TemporaryDirectory(prefix="omnitrace-") as folder:
        path = Path(folder) / "trace.omnitrace"
        trace.save(path)
        return path.read_bytes()


def _written(state: ServerState, job: Job) -> Path:
    """Return the file of a run's trace, which is being written at most."""
    finished_trace(job)
    path = state.jobs.path(job)
    if path is None and (writing := state.jobs.keep(job)) is not None:
        writing.result()
        path = state.jobs.path(job)
    if path is None:
        raise OSError("the trace of a run cannot be written")
    return path


def _report(trace: Trace) -> str:
    playable = [each.read for each in trace.media if each.modality != "image"]
    return render_report([trace], media=all(read is not None for read in playable))


def _packed(files: list[ExportedFile]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(file.name, file.data)
    return buffer.getvalue()


def _name(job: Job) -> str:
    """Name files after the run: nothing that a client wrote is in a header."""
    return f"omnitrace-{job.id[:8]}"


def _attached(data: bytes, name: str, kind: str) -> Response:
    return Response(
        data,
        media_type=kind,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
