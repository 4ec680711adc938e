"""A real server of the reference model, its model on a lead, and files to give it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from omnitrace import Tracer
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.serve import ServeOptions
from omnitrace.serve.server import bound, make_server
from tests.helpers.chromium import browser

__all__ = ["Asked", "Lead", "browser", "serving"]

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


@contextlib.contextmanager
def serving(tracer: Tracer, options: ServeOptions) -> Iterator[str]:
    """Run a server in a thread, at a free port; yields its address."""
    server = make_server(tracer, options)
    with bound("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            until = time.monotonic() + _SECONDS
            while not server.started:
                assert time.monotonic() < until
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(_SECONDS)


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
