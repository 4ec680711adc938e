"""A real model without training, files of a real request, and a way to run commands."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from omnitrace.types import Modality
from tests.helpers.command_line import Run, run_command


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the architecture of the reference model and random weights: it babbles."""
    from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer

    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    untrained = build_model(tokenizer)
    # Words, and four of them at least, whatever the weights: an answer of line ends has no span.
    end = tokenizer.eos_token_id
    pieces = {i: tokenizer.decode([i]).strip() for i in range(len(tokenizer)) if i != end}
    untrained.generation_config.min_new_tokens = 4
    untrained.generation_config.suppress_tokens = [
        i for i, piece in pieces.items() if not piece.isalpha()
    ]
    untrained.save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The request.json of a sample with all modalities, beside its media."""
    from omnitrace.reference.files import write_sample
    from omnitrace.reference.world import held_out_seed, make_sample

    order: tuple[Modality, ...] = ("text", "image", "audio", "video")
    drawn = make_sample(held_out_seed(0), questions=2, order=order, long=False)
    return write_sample(drawn, tmp_path_factory.mktemp("sample"))


@pytest.fixture
def run() -> Run:
    """Run a command in this process."""
    return run_command


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start a command in a process of its own."""

    def popen(*args: str | Path, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from omnitrace.cli.app import main; main()"]
        return subprocess.Popen(
            [*command, *(str(arg) for arg in args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "HF_HUB_OFFLINE": "1"},
            # A shell's background job ignores Ctrl-C, and would hand that down.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    return popen


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Handle signals as a process does that no shell has started in the background."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write values as a .jsonl file; a string is written as it is."""

    def write(*values: Any, name: str = "requests.jsonl") -> Path:
        lines = [v if isinstance(v, str) else json.dumps(v) for v in values]
        path = tmp_path / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write
