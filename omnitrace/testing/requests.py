"""A small request with made-up media, in the format of the tracer's messages."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from omnitrace.types import Modality

__all__ = ["TEXT", "request"]

TEXT: Final = "The red lamp is in the kitchen. The blue chair weighs nine grams."
_QUESTION: Final = "Where is the lamp?"
_RATE: Final = 16_000


def request(modalities: tuple[Modality, ...] = ("text",)) -> list[dict[str, Any]]:
    """Return a user message with one source of each of ``modalities``, and a question."""
    draw = np.random.default_rng(0)
    parts: list[dict[str, Any]] = []
    if "text" in modalities:
        parts.append({"type": "text", "text": TEXT})
    if "image" in modalities:
        pixels = draw.integers(0, 256, (56, 84, 3), dtype=np.uint8)
        parts.append({"type": "image", "image": pixels})
    if "audio" in modalities:
        noise = 0.1 * draw.normal(size=2 * _RATE)
        parts.append({"type": "audio", "audio": (noise.astype(np.float32), _RATE)})
    if "video" in modalities:
        frames = draw.integers(0, 256, (4, 56, 56, 3), dtype=np.uint8)
        parts.append({"type": "video", "video": (frames, 2.0)})
    return [{"role": "user", "content": [*parts, {"type": "text", "text": _QUESTION}]}]
