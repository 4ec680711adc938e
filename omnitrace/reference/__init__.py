"""The reference world and model: known evidence for every word, and a model that has learnt it.

``make_sample`` in :mod:`omnitrace.reference.world` draws a request with its answer and evidence,
``write_sample`` in :mod:`omnitrace.reference.files` writes it as PNG, WAV, MP4 and JSON, and
:func:`model_path` names the folder of a small omni-modal model (the classes and processor of
Qwen2.5-Omni) that answers it. ``python -m omnitrace.reference.train`` trains that model,
``python -m omnitrace.reference.accuracy`` measures it. Importing this package loads nothing heavy.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

__all__ = ["model_path"]


def model_path() -> Path:
    """Return the folder of the shipped model, for ``from_pretrained`` of model and processor."""
    return Path(str(importlib.resources.files("omnitrace.reference"))) / "model"
