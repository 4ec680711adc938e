"""Requests of a given length: sentences, pictures, and a minute of audio where it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from common.decoding import story
from common.report import BenchmarkError
from omnitrace import Tracer
from omnitrace.types import Message

__all__ = ["Asked", "request_of"]

_RATE: Final = 16_000
_SECONDS: Final = 60
#: Pictures of a prompt of at least so many tokens: how many, and the pixels of a side.
_PICTURES: Final = ((16_000, 8, 896), (4_000, 4, 448), (0, 1, 448))
_AUDIO_FROM: Final = 4_000  # a minute has 1,500 tokens
_QUESTION: Final = "Describe in detail what is seen, what is heard, and what it cost."


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its messages, its tokens, and how many pictures and seconds of audio it has."""

    messages: list[Message]
    tokens: int
    pictures: int
    seconds: int


def request_of(tracer: Tracer, length: int, *, side: int | None = None, seed: int = 0) -> Asked:
    """Return a request of so many prompt tokens.

    Parameters
    ----------
    tracer:
        Of the model: its processor says how many tokens media have.
    length:
        Prompt tokens.
    side:
        Pixels of a picture's side, instead of what belongs to the length.
    seed:
        Another text for another seed.

    Raises
    ------
    BenchmarkError
        If the media alone are longer.
    """
    count, pixels = next((n, p) for least, n, p in _PICTURES if length >= least)
    media: list[dict[str, Any]] = [
        {"type": "image", "image": _picture(side or pixels, seed + i)} for i in range(count)
    ]
    audio = length >= _AUDIO_FROM and hasattr(tracer.adapter.processor, "feature_extractor")
    if audio:
        media.append({"type": "audio", "audio": {"array": _sound(), "sampling_rate": _RATE}})
    bare = _tokens(tracer, _messages(media, "x"))
    if bare > length:
        raise BenchmarkError(f"the media of a prompt of {length} tokens have {bare}")
    characters = length - bare + 1  # a byte is a token
    text = story(characters // 60 + 2, seed)[:characters]
    messages = _messages(media, text)
    return Asked(messages, _tokens(tracer, messages), count, _SECONDS if audio else 0)


def _messages(media: list[dict[str, Any]], text: str) -> list[Message]:
    parts = [*media, {"type": "text", "text": text}, {"type": "text", "text": _QUESTION}]
    return [{"role": "user", "content": parts}]


def _tokens(tracer: Tracer, messages: list[Message]) -> int:
    conversation = tracer.read(messages)
    return len(tracer.adapter.encode(conversation, tracer.setup.sources).prompt_ids)


def _picture(side: int, seed: int) -> Image.Image:
    """Return coloured squares, the same for the same seed."""
    colours = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)


def _sound() -> np.ndarray:
    """Return a minute of a tone that rises."""
    time = np.arange(_SECONDS * _RATE) / _RATE
    return (0.3 * np.sin(2 * np.pi * (200 + 5 * time) * time)).astype(np.float32)
