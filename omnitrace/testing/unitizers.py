"""What a unitizer must keep: each token one unit, in order of time, the same every time."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from omnitrace.errors import ConformanceError
from omnitrace.media import load_audio, load_image
from omnitrace.sources.parts import MediaPart
from omnitrace.sources.token_map import GridTokens, TimeTokens
from omnitrace.sources.unitizers.base import (
    ImageUnitizer,
    TimeUnitizer,
    Unitizer,
    checked_labels,
    make_unitizer,
)
from omnitrace.sources.unitizers.time import centre
from omnitrace.testing.contract import requirements
from omnitrace.types import Modality

__all__ = ["UNITIZER_REQUIREMENTS", "UnitizerHarness"]

_GRIDS: Final = ((3, 5), (1, 1), (12, 2))
_SECONDS: Final = (3.0, 0.04, 7.3)
_TOKEN: Final = 0.04  # seconds of a token of audio
_FRAME: Final = 0.5  # seconds of a token of pictures
_DIMENSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class _Medium:
    """The streams of one medium, and what it is called in errors."""

    name: str
    streams: tuple[Any, ...]

    @property
    def sizes(self) -> list[int]:
        """Tokens of each stream."""
        return [len(stream.positions) for stream in self.streams]


class UnitizerHarness:
    """A unitizer with small media: noise, tones and silence, down to one token.

    Parameters
    ----------
    unitizer:
        The name of a registered unitizer, with or without parameters, or a unitizer.
    """

    def __init__(self, unitizer: str | Unitizer) -> None:
        self.unitizer = unitizer if isinstance(unitizer, Unitizer) else _registered(unitizer)
        self.subject = f"the unitizer {self.unitizer.name!r}"

    @functools.cached_property
    def media(self) -> list[_Medium]:
        """Media of the kind that it cuts."""
        if isinstance(self.unitizer, ImageUnitizer):
            return [_image(*grid) for grid in _GRIDS]
        return [*map(_audio, _SECONDS), _video(_SECONDS[0])]

    def cut(self, medium: _Medium) -> list[Any]:
        """Return what it gives for each stream."""
        if isinstance(self.unitizer, ImageUnitizer):
            return [self.unitizer.cut(medium.streams[0], _features)]
        assert isinstance(self.unitizer, TimeUnitizer)
        return list(self.unitizer.cut(medium.streams, _features))


def _registered(name: str) -> Unitizer:
    from omnitrace.plugins.registry import registry

    entry = registry().unitizers.get(name.partition(":")[0])
    modality = entry.modalities[0] if entry else "image"
    made: Unitizer = make_unitizer(name, Unitizer, modality, "the unitizer")
    return made


def _features(tokens: GridTokens | TimeTokens) -> np.ndarray:
    count = len(tokens.positions)
    found: np.ndarray = np.random.default_rng(count).normal(size=(count, _DIMENSIONS))
    return found.astype(np.float32)


def _part(modality: Modality, media: Any) -> MediaPart:
    return MediaPart(0, 0, "user", modality, media)


def _image(rows: int, columns: int) -> _Medium:
    pixels = np.random.default_rng(rows).integers(0, 256, (rows * 28, columns * 28, 3))
    part = _part("image", load_image(pixels.astype(np.uint8)))
    tokens = GridTokens(part, range(rows * columns), rows, columns, columns * 28, rows * 28)
    return _Medium(f"an image of {rows} by {columns} tokens", (tokens,))


def _sound(seconds: float) -> np.ndarray:
    """Return tones and silence, of a second each."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    samples: np.ndarray = 0.3 * np.sin(2 * np.pi * 300 * time) * (time.astype(int) % 2 == 0)
    return samples.astype(np.float32)


def _stream(part: MediaPart, modality: Modality, seconds: float, step: float) -> TimeTokens:
    count = max(1, round(seconds / step))
    times = [(k * step, (k + 1) * step) for k in range(count)]
    return TimeTokens(part, modality, range(count), times, seconds)


def _audio(seconds: float) -> _Medium:
    part = _part("audio", load_audio(_sound(seconds)))
    return _Medium(f"audio of {seconds:g} s", (_stream(part, "audio", seconds, _TOKEN),))


def _video(seconds: float) -> _Medium:
    """Return pictures and sound that are cut together."""
    part = _part("video", load_audio(_sound(seconds)))
    streams = _stream(part, "video", seconds, _FRAME), _stream(part, "audio", seconds, _TOKEN)
    return _Medium(f"pictures and sound of {seconds:g} s", streams)


def _each(
    harness: UnitizerHarness, violation: Callable[[_Medium, list[Any]], str | None]
) -> str | None:
    """Return the first violation of any medium, with the medium's name."""
    for medium in harness.media:
        found = violation(medium, harness.cut(medium))
        if found is not None:
            return f"{found}, for {medium.name}"
    return None


def _labels(harness: UnitizerHarness) -> str | None:
    def violation(medium: _Medium, given: list[Any]) -> str | None:
        if len(given) != len(medium.streams):
            return f"gave {len(given)} arrays for {len(medium.streams)} streams"
        for labels, count in zip(given, medium.sizes, strict=True):
            try:
                checked_labels(harness.unitizer, labels, count)
            except ConformanceError as error:
                return error.found
        return None

    return _each(harness, violation)


def _in_order_of_time(harness: UnitizerHarness) -> str | None:
    def violation(medium: _Medium, given: list[Any]) -> str | None:
        if isinstance(harness.unitizer, ImageUnitizer):
            return None
        timed = sorted(
            (centre(stream, index), int(label))
            for stream, labels in zip(medium.streams, given, strict=True)
            for index, label in enumerate(labels)
        )
        for (before, one), (after, other) in itertools.pairwise(timed):
            if other < one and after > before:
                return f"gave {one} at {before:g} s and {other} at {after:g} s"
        return None

    return _each(harness, violation)


def _the_same_again(harness: UnitizerHarness) -> str | None:
    def violation(medium: _Medium, given: list[Any]) -> str | None:
        again = harness.cut(medium)
        same = all(np.array_equal(a, b) for a, b in zip(given, again, strict=True))
        return None if same else "cut the same medium otherwise a second time"

    return _each(harness, violation)


def _json_parameters(harness: UnitizerHarness) -> str | None:
    parameters = dict(harness.unitizer.parameters)
    try:
        json.dumps(parameters)
    except (TypeError, ValueError):
        return f"has the parameters {parameters!r}"
    return None


def _leaves_torch_alone(harness: UnitizerHarness) -> str | None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    for medium in harness.media:
        harness.cut(medium)
    if torch.get_num_threads() != threads:
        return f"set torch to {torch.get_num_threads()} threads instead of {threads}"
    if not torch.equal(torch.random.get_rng_state(), state):
        return "drew from torch's random numbers"
    return None


UNITIZER_REQUIREMENTS: Final = requirements(
    {
        "one integer for each token of each stream": _labels,
        "the same medium gives the same units": _the_same_again,
        "numbers that ascend with time, also from one stream to the other": _in_order_of_time,
        "JSON-ready parameters": _json_parameters,
        "torch's threads and random numbers are left alone": _leaves_torch_alone,
    }
)
