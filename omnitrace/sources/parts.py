"""The parts of a conversation after reading: texts and decoded media."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo
from omnitrace.speech.utterances import Utterance
from omnitrace.types import Modality

__all__ = ["MediaPart", "Part", "TextPart"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """A text of the conversation, letter for letter as the user passed it.

    ``title`` and ``metadata`` (a JSON value) are the user's, for citations of the part. ``within``
    are the character ranges of it that can be cited, where it also holds a question; None for all
    of it.
    """

    message: int
    part: int
    role: str
    text: str
    is_source: bool
    source_id: str | None = None
    units: tuple[Any, ...] | None = None
    within: tuple[tuple[int, int], ...] | None = None
    title: str | None = None
    metadata: Any = field(default=None, hash=False)


@dataclass(frozen=True, slots=True, eq=False)
class MediaPart:
    """A loaded image, audio or video of the conversation.

    ``transcript`` is what is said in it, as far as the user says so: in order, apart, and within
    its seconds. ``asked`` is what the message asks of its time and pixels, by the keys that say it
    (see :mod:`omnitrace.sources.asked`).
    """

    message: int
    part: int
    role: str
    modality: Modality
    media: LoadedImage | LoadedAudio | LoadedVideo
    is_source: bool = True
    source_id: str | None = None
    units: tuple[Any, ...] | None = None
    transcript: tuple[Utterance, ...] | None = None
    title: str | None = None
    metadata: Any = field(default=None, hash=False)
    asked: Mapping[str, float] = field(default_factory=dict)


Part: TypeAlias = TextPart | MediaPart
"""A part of a message."""
