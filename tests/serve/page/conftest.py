"""A real server of the reference model, its model on a lead, and files to give it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from torch import nn

from omnitrace import Tracer
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.serve import ServeOptions, create_app
from tests.helpers.chromium import browser

__all__ = ["Asked", "Lead", "browser"]

_SECONDS = 20.0


class Lead:
    """Holds a model back: while it is held, each of its steps must be let go.

    Attributes
    ----------
    steps:
        How many the model has begun.
    """

    def __init__(self, model: nn.Module) -> None:
        self.steps = 0
        self._held = False
        self._allowed = threading.Semaphore(0)
        model.register_forward_pre_hook(self._step)

    def _step(self, *_: Any) -> None:
        self.steps += 1
        if self._held:
            self._allowed.acquire(timeout=_SECONDS)

    def hold(self) -> None:
        """Let no further step begin."""
        self._allowed = threading.Semaphore(0)
        self._held = True

    def go(self, steps: int) -> None:
        """Let some steps begin."""
        for _ in range(steps):
            self._allowed.release()

    def free(self) -> None:
        """Hold the model no longer."""
        self._held = False
        self.go(1)


@dataclass(frozen=True)
class Asked:
    """A request of the reference world: files, a text, and the question."""

    files: list[Path]
    text: str
    question: str


@pytest.fixture(scope="module")
def lead(reference: Tracer) -> Lead:
    return Lead(reference.setup.adapter.model)


@pytest.fixture(autouse=True)
def freed(lead: Lead) -> Iterator[None]:
    """Leave no model held behind."""
    yield
    lead.free()


@pytest.fixture(scope="module")
def server(reference: Tracer, lead: Lead) -> Iterator[str]:
    """Return the address of a server."""
    with serving(reference, ServeOptions()) as address:
        yield address


class serving:  # noqa: N801 - a context manager, used as a function
    """A server in a thread, at a free port; entering returns its address."""

    def __init__(self, tracer: Tracer, options: ServeOptions) -> None:
        config = uvicorn.Config(create_app(tracer, options), port=0, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> str:
        self._thread.start()
        until = time.monotonic() + _SECONDS
        while not self._server.started:
            assert time.monotonic() < until and self._thread.is_alive()
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(_SECONDS)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tmp_path_factory.mktemp("asked")
    sample = make_sample(
        held_out_seed(0), questions=3, order=("text", "image", "audio"), long=False
    )
    write_sample(sample, folder)
    content = sample.messages[0]["content"]
    texts = [part["text"] for part in content if part["type"] == "text"]
    files = [folder / part[part["type"]] for part in content if part["type"] != "text"]
    return Asked(files, texts[0], texts[-1])
