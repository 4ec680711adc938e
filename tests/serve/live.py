"""A server on a port of its own, for clients that need a connection."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omnitrace import Tracer
from omnitrace.serve import ServeOptions
from omnitrace.serve.server import bound, make_server
from omnitrace.serve.state import ServerState

__all__ = ["Live", "live"]


@dataclass(frozen=True)
class Live:
    """A server that runs: where, and what it holds."""

    url: str
    state: ServerState


@contextlib.contextmanager
def live(tracer: Tracer, options: ServeOptions, **config: Any) -> Iterator[Live]:
    """Run a server on a free port of this machine."""
    server = make_server(tracer, options, **config)
    listening = bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server has ended"
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.01)
    port = listening.getsockname()[1]
    try:
        yield Live(f"http://127.0.0.1:{port}", server.config.app.state.server)  # type: ignore[union-attr]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server does not end"
