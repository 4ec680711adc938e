"""The application: all routes, behind the guard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from omnitrace.serve import openai
from omnitrace.serve.api import about, downloads, runs, uploads
from omnitrace.serve.guard import Guard
from omnitrace.serve.options import ServeOptions
from omnitrace.serve.responses import add_error_handlers, error_response
from omnitrace.serve.state import ServerState
from omnitrace.tracer import Tracer

__all__ = ["create_app"]

_PACKAGE: Final = Path(__file__).parent
_PAGE: Final = _PACKAGE / "page"
_VIEWER: Final = _PACKAGE.parent / "report" / "static"


def create_app(tracer: Tracer, options: ServeOptions | None = None) -> FastAPI:
    """Return an application that serves one model.

    Parameters
    ----------
    tracer:
        The model, with the signal and the options that a request gets which asks for none. Its
        limits on media become those of the server.
    options:
        What the server allows.

    Returns
    -------
    FastAPI
        Its ``state.server`` holds the queue, the runs and the uploads. The model's thread starts
        and ends with the application's lifespan.
    """
    options = options or ServeOptions()
    state = ServerState(tracer.with_options(limits=options.media), options)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state.queue.start()
        watching = asyncio.create_task(state.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.to_thread(state.close)

    app = FastAPI(
        title="Omnitrace",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[Middleware(Guard, options=options, refusal=_refusal)],
    )
    app.state.server = state
    add_error_handlers(app)
    for part in (about, uploads, runs, downloads):
        app.include_router(part.router(state))
    app.include_router(openai.router(state))
    _add_page(app)
    return app


def _refusal(path: str, error: Exception) -> Response:
    return openai.refusal(error) if path.startswith("/v1/") else error_response(error)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    # The viewer of reports is that of the page too.
    app.mount("/static/report", StaticFiles(directory=_VIEWER))
    app.mount("/static/page", StaticFiles(directory=_PAGE))
