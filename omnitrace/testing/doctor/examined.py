"""The model that is examined, and the requests that it is examined with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from torch import nn

from omnitrace.capture.attention_hooks import attention_modules
from omnitrace.capture.parameters import input_device
from omnitrace.media import LoadedVideo, MediaLimits, load_audio
from omnitrace.models.base import ModelAdapter
from omnitrace.models.families import Family
from omnitrace.models.media_tokens import placeholder_ids
from omnitrace.models.request_media import takes_sound
from omnitrace.sources.messages import Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, Part
from omnitrace.testing.harness import SEED, settings
from omnitrace.testing.maps import NEW_TOKENS, AdapterRequest
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer
from omnitrace.types import Modality

__all__ = ["Examined", "Level"]

Level: TypeAlias = Literal["quick", "full"]

_RATE: Final = 16_000
# Letters of one, two, three and four bytes, and a sentence that comes twice.
_TEXT: Final = (
    "The red lamp is in the kitchen. Das Café wiegt 9 g. 灯は赤い。 It rains 🌧. It rains 🌧."
)
_QUESTION: Final = "Where is the lamp?"
_IMAGES: Final = ((84, 56), (37, 91), (160, 63))
_AUDIO: Final = (1.3, 0.72)
_VIDEO: Final = (5, 64, 98)  # frames, height, width


class Examined:
    """A model, its adapter, and requests of everything that it takes.

    Parameters
    ----------
    adapter:
        The model.
    level:
        How much is tried: "quick" or "full".
    """

    def __init__(self, adapter: ModelAdapter, level: Level = "quick") -> None:
        self.adapter = adapter
        self.level = level

    @property
    def model(self) -> Any:
        """The model itself."""
        return self.adapter.model

    @property
    def family(self) -> Family | None:
        """Its family, if it is of one with a processor."""
        return getattr(self.adapter, "family", None)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it takes, text first."""
        if self.family is not None:
            return self.family.modalities
        if not self.adapter.media_tokens:
            return ("text",)
        fed = placeholder_ids(self.model.config)
        kinds: tuple[Modality, ...] = ("image", "video", "audio")
        return ("text", *(kind for kind in kinds if fed[kind]))

    @property
    def dtype(self) -> torch.dtype:
        """What the decoder computes in."""
        found: torch.dtype = self.model.dtype
        return found

    @property
    def device(self) -> torch.device:
        """Where token ids are put."""
        return input_device(self.model)

    @property
    def depth(self) -> int:
        """How many layers the decoder has."""
        config = self.model.config.get_text_config(decoder=True)
        modules = attention_modules(self.adapter.decoder)
        return int(getattr(config, "num_hidden_layers", len(modules)))

    @property
    def layers(self) -> dict[int, nn.Module]:
        """The layers whose attention is captured, by index."""
        return dict(self.tracer.setup.layers)

    @functools.cached_property
    def tracer(self) -> Tracer:
        """A tracer of the model by one signal that needs rows alone."""
        return Tracer(adapter=self.adapter, signal="attention-mean")

    @functools.cached_property
    def large(self) -> list[AdapterRequest]:
        """Requests with several media of odd sizes; as many as it takes to have all kinds."""
        return list(self._requests(several=True))

    @functools.cached_property
    def small(self) -> list[AdapterRequest]:
        """Requests with one medium of each kind."""
        return list(self._requests(several=False))

    @functools.cached_property
    def traces(self) -> list[tuple[AdapterRequest, Trace]]:
        """The small requests, answered and traced."""
        return [(each, self.trace(each, "attention-mean")) for each in self.small]

    def trace(self, request: AdapterRequest, signal: Any, **options: Any) -> Trace:
        """Let the model respond to a request with a few words, and trace them by a signal."""
        tracer = self.tracer.with_options(signal=signal, **options)
        return tracer.trace(
            request.conversation, seed=SEED, **settings(self.adapter, NEW_TOKENS, False)
        )

    def placed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs where the model takes them."""
        return {
            name: value.to(self.device) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }

    def _requests(self, *, several: bool) -> Iterator[AdapterRequest]:
        one_each = self.family.one_each if self.family is not None else ()
        for kinds in self._together():
            messages = _messages(kinds, one_each=one_each, several=several)
            yield AdapterRequest(self.adapter, messages)
        if several and {"audio", "video"} <= set(self.modalities) and self._hears_videos():
            messages = _messages(("text", "video"), one_each=one_each, several=False)
            yield AdapterRequest(self.adapter, messages, _with_sound(messages))

    def _hears_videos(self) -> bool:
        return takes_sound(self.adapter.processor)

    def _together(self) -> list[tuple[Modality, ...]]:
        """Return what may stand in one request; each modality in at least one of them."""
        groups = [self.modalities]
        apart = self.family.not_together if self.family is not None else {}
        for kinds in apart:
            groups = [
                tuple(kind for kind in group if kind != left_out)
                for group in groups
                for left_out in (kinds if set(kinds) <= set(group) else ("",))
            ]
        return groups


def _messages(
    kinds: Sequence[Modality], *, one_each: Sequence[Modality], several: bool
) -> list[dict[str, Any]]:
    """Return a request with one medium of each kind, or with several of odd sizes."""
    draw = np.random.default_rng(0)

    def count(kind: Modality, sizes: Sequence[Any]) -> Sequence[Any]:
        return sizes if several and kind not in one_each else sizes[:1]

    parts: list[dict[str, Any]] = [{"type": "text", "text": _TEXT}]
    if "image" in kinds:
        for width, height in count("image", _IMAGES):
            pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
            parts.append({"type": "image", "image": pixels})
    if "audio" in kinds:
        for seconds in count("audio", _AUDIO):
            noise = (0.1 * draw.normal(size=round(seconds * _RATE))).astype(np.float32)
            parts.append({"type": "audio", "audio": (noise, _RATE)})
    if "video" in kinds:
        frames = draw.integers(0, 256, (*_VIDEO, 3), dtype=np.uint8)
        parts.append({"type": "video", "video": (frames, 2.0)})
    return [{"role": "user", "content": [*parts, {"type": "text", "text": _QUESTION}]}]


def _with_sound(messages: Sequence[Any]) -> Conversation:
    """Read a request whose videos, given as frames, get a sound."""
    read = read_messages(messages, options=SourceOptions(), limits=MediaLimits())
    parts: list[Part] = []
    for part in read.parts:
        if isinstance(part, MediaPart) and isinstance(part.media, LoadedVideo):
            count = round(part.media.duration * _RATE)
            noise = (0.1 * np.random.default_rng(1).normal(size=count)).astype(np.float32)
            media = dataclasses.replace(part.media, audio=load_audio(noise))
            part = dataclasses.replace(part, media=media)
        parts.append(part)
    return dataclasses.replace(read, parts=tuple(parts))
