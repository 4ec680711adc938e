"""Run the application with uvicorn, and end it without losing what runs."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from sse_starlette.sse import AppStatus

from omnitrace.serve.app import create_app
from omnitrace.serve.options import ServeOptions
from omnitrace.serve.state import ServerState
from omnitrace.tracer import Tracer

__all__ = ["Server", "serve"]

_CONNECTIONS = 1000
_LAST_SECONDS = 5  # for responses to end, once their requests have


class Server(uvicorn.Server):
    """A server that lets the request that runs end before it closes its connections.

    When it is told to end it takes no more requests, and those that wait are told so; the one that
    runs may go on for ``grace_seconds``. A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config)
        self._state = state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, gracefully."""
        queue = self._state.queue
        await asyncio.to_thread(queue.close)
        deadline = asyncio.get_running_loop().time() + self._state.options.grace_seconds
        while queue.running is not None and not self.force_exit:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.05)
        await asyncio.to_thread(queue.stop)
        await super().shutdown(sockets)


def serve(
    tracer: Tracer,
    options: ServeOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    **config: Any,
) -> None:
    """Serve a model until the process is told to end.

    Parameters
    ----------
    tracer, options:
        As for :func:`~omnitrace.serve.app.create_app`.
    host, port:
        Where to listen.
    config:
        Further options of ``uvicorn.Config``.
    """
    make_server(tracer, options or ServeOptions(), host=host, port=port, **config).run()


def make_server(
    tracer: Tracer, options: ServeOptions, *, host: str, port: int, **config: Any
) -> Server:
    """Return a server that is not started yet."""
    # Its own way to end streams would cut off a request that may still end by itself.
    AppStatus.disable_automatic_graceful_drain()
    app = create_app(tracer, options)
    usual: dict[str, Any] = {
        "access_log": False,  # its lines hold the ids of runs
        "log_level": "warning",
        "server_header": False,
        "limit_concurrency": _CONNECTIONS,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": _LAST_SECONDS,
    }
    return Server(
        uvicorn.Config(app, host=host, port=port, **{**usual, **config}), app.state.server
    )
