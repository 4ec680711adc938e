"""Run the application with uvicorn, and end it without losing what runs."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn
from sse_starlette.sse import AppStatus
from uvicorn.protocols.http.h11_impl import H11Protocol

from omnitrace._utils.files import reason_of
from omnitrace.errors import InputError
from omnitrace.serve.app import create_app
from omnitrace.serve.options import ServeOptions
from omnitrace.serve.state import ServerState
from omnitrace.tracer import Tracer

__all__ = ["Server", "bound", "make_server", "serve"]

_CONNECTIONS: Final = 1000
_HEAD_SECONDS: Final = 15.0
_IDLE_SECONDS: Final = 15
_LAST_SECONDS: Final = 5  # for responses to end, once their requests have


class _Protocol(H11Protocol):
    """HTTP/1.1 whose clients must send the head of a request in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what comes."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self._late is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = asyncio.get_running_loop().call_later(_HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


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
        await asyncio.to_thread(queue.stop, _LAST_SECONDS)
        await super().shutdown(sockets)
        await asyncio.to_thread(self._state.close)  # the application does not where it is forced


def serve(
    tracer: Tracer,
    options: ServeOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Serve a model until the process is told to end.

    Parameters
    ----------
    tracer, options:
        As for :func:`~omnitrace.serve.app.create_app`.
    host, port:
        Where to listen.

    Raises
    ------
    InputError
        If nothing can listen there.
    """
    with bound(host, port) as listening:
        make_server(tracer, options).run(sockets=[listening])


def make_server(tracer: Tracer, options: ServeOptions | None = None) -> Server:
    """Return a server that is not started yet; ``run`` and ``serve`` take the sockets."""
    # Its own way to end streams would cut off a request that may still end by itself.
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
    app = create_app(tracer, options)
    config = uvicorn.Config(
        app,
        http=_Protocol,  # h11 bounds what a head may have
        ws="none",
        access_log=False,  # its lines hold the ids of runs
        log_level="warning",
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    return Server(config, app.state.server)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before a model is loaded for it.

    Raises
    ------
    InputError
        If the address is not ours, or is taken.
    """
    made: socket.socket | None = None
    try:
        family, kind, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
    except OSError as error:
        if made is not None:
            made.close()
        raise InputError(
            f"the server cannot listen on {host}, port {port}: {reason_of(error)}",
            legal="an address of this machine, and a free port",
            fix="choose another --port; 0 takes a free one",
        ) from error
    return made
