"""A model of one layer, for what only asks who it is, and requests without a model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from omnitrace.runs import Run, open_run
from omnitrace.sources import RequestEntry
from omnitrace.types import OpenRoot

ASKED = {"signal": {"name": "attention-mean"}, "generation": {"max_new_tokens": 8}}

Open = Callable[..., Run]


def request(name: str, text: str = "What is it?", **more: Any) -> RequestEntry:
    return RequestEntry(name, [{"role": "user", "content": text}], OpenRoot(), **more)


def die(run: Run) -> None:
    """Leave what a process leaves that was killed: its marks, and no locks."""
    for _, claim in run._begun.values():
        os.close(claim._handle)  # type: ignore[attr-defined]
    run._begun.clear()


def adapter(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    model.config = SimpleNamespace(model_type="line")  # type: ignore[assignment]
    model.dtype = torch.float32  # type: ignore[assignment]
    return SimpleNamespace(source="line", revision=None, name="line", model=model)


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Open the same folder again and again, with a model."""

    def open_again(asked: dict[str, Any] = ASKED, *, bound: bool = True, **options: Any) -> Run:
        run = open_run(tmp_path / "run", asked, **options)
        if bound:
            run.bind(adapter())
        return run

    return open_again
