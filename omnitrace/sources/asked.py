"""What a part of a message asks of the time and the pixels of its medium, in the words of Qwen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from omnitrace.errors import InputError
from omnitrace.media import Clip, MediaLimits
from omnitrace.media.limits import DEFAULT_LIMITS
from omnitrace.types import Modality

__all__ = ["ASKED", "PIXELS", "asked_of", "clip_of"]

#: Keys that say at which size a picture is shown to the model.
PIXELS: Final = ("min_pixels", "max_pixels", "total_pixels", "resized_height", "resized_width")
_COUNTS: Final = ("nframes", "num_frames", "min_frames", "max_frames")
_SECONDS: Final = ("video_start", "video_end", "audio_start", "audio_end")
#: What a part of each modality may ask for.
ASKED: Final[dict[Modality, tuple[str, ...]]] = {
    "text": (),
    "image": tuple(name for name in PIXELS if name != "total_pixels"),
    "audio": ("audio_start", "audio_end"),
    "video": ("fps", *_COUNTS, "video_start", "video_end", *PIXELS),
}
_MOST: Final = 1 << 40
_EXCLUSIVE: Final = (
    ("nframes", "num_frames"),
    *((name, other) for name in ("resized_height", "resized_width") for other in PIXELS[:3]),
    *((name, other) for name in _COUNTS[:2] for other in _COUNTS[2:]),
)
_ORDERED: Final = (
    ("min_frames", "max_frames"),
    ("min_pixels", "max_pixels"),
    ("min_pixels", "total_pixels"),
)


def asked_of(
    raw: Mapping[str, Any],
    kind: Modality,
    where: str,
    *,
    has_rate: bool = False,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> dict[str, float]:
    """Return what a part asks for, by the keys that say it.

    Parameters
    ----------
    raw:
        The part.
    kind:
        Its modality.
    where:
        What errors call it.
    has_rate:
        Whether ``fps`` is the rate at which frames were taken, and not one to sample at.
    limits:
        ``max_image_pixels`` bounds what a picture may be scaled up to.

    Raises
    ------
    InputError
        If a value is not legal, or two contradict each other.
    """
    asked = {
        name: _number(name, raw[name], where) for name in ASKED[kind] if raw.get(name) is not None
    }
    rates = () if has_rate else (("fps", "nframes"), ("fps", "num_frames"))
    for one, other in (*rates, *_EXCLUSIVE):
        if one in asked and other in asked:
            raise InputError(f"{where} has both {one!r} and {other!r}", legal="one of them")
    for low, high in _ORDERED:
        if asked.get(low, 0) > asked.get(high, math.inf):
            raise InputError(
                f"{where} has the {low!r} {asked[low]:g} and the {high!r} {asked[high]:g}",
                legal=f"{low} ≤ {high}",
            )
    for one, other in (("resized_height", "resized_width"), ("resized_width", "resized_height")):
        if one in asked and other not in asked:
            raise InputError(f"{where} has {one!r} without {other!r}", legal="both, or neither")
    most = limits.max_image_pixels
    grown = max(
        asked.get("min_pixels", 0), asked.get("resized_height", 0) * asked.get("resized_width", 0)
    )
    if grown > most:
        raise InputError(
            f"{where} asks for a picture of {grown:g} pixels",
            legal=f"at most {most:g} pixels",
            fix="ask for fewer, or raise MediaLimits(max_image_pixels=…)",
        )
    return asked


def _number(name: str, value: Any, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _SECONDS:
        legal, fits = "seconds from 0 on", number and 0 <= value < math.inf
    elif name == "fps":
        legal, fits = "a positive number", number and 0 < value < math.inf
    else:
        legal = "a whole number of at least 1"
        fits = number and 1 <= value <= _MOST and value == int(value)
    if not fits:
        raise InputError(f"{where} has the {name!r} {value!r}"[:300], legal=legal)
    return float(value) if name in (*_SECONDS, "fps") else int(value)


def clip_of(asked: Mapping[str, float]) -> Clip:
    """Return which seconds and how many frames are asked for."""

    def count(*names: str) -> int | None:
        return next((int(asked[name]) for name in names if name in asked), None)

    return Clip(
        start=asked.get("video_start", asked.get("audio_start")),
        end=asked.get("video_end", asked.get("audio_end")),
        frames=count("nframes", "num_frames"),
        min_frames=count("min_frames"),
        max_frames=count("max_frames"),
    )
