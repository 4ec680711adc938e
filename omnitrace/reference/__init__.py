"""The reference world and model: known evidence for every word, and a model that has learnt it.

``make_sample`` in :mod:`omnitrace.reference.world` draws a request with its answer and evidence,
``write_sample`` in :mod:`omnitrace.reference.files` writes it as PNG, WAV, MP4 and JSON, and
:func:`model_path` names the folder of a small omni-modal model (the classes and processor of
Qwen2.5-Omni) that answers it, or of the one that writes its steps first, as thoughts. ``python -m
omnitrace.reference.training.train`` trains them, ``python -m
omnitrace.reference.training.accuracy`` measures them. Importing this package loads nothing heavy.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Final

__all__ = ["MODELS", "model_path"]

#: The models in this package by the names that users give, and their folders.
MODELS: Final = {"reference": "model", "reference-thinking": "thinking"}


def model_path(name: str = "reference") -> Path:
    """Return the folder of a shipped model, for ``from_pretrained`` of model and processor.

    Raises
    ------
    KeyError
        If ``name`` is none of :data:`MODELS`.
    """
    return Path(str(importlib.resources.files("omnitrace.reference"))) / MODELS[name]
