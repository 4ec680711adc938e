"""The rule for processors that nobody has described: a medium is one unit, and nothing finer."""

from __future__ import annotations

import warnings

from omnitrace.media import LoadedImage
from omnitrace.models.places.base import Medium, image_grid, whole
from omnitrace.sources.token_map import GridTokens, TimeTokens
from omnitrace.sources.unitizers.user_defined import name_of

__all__ = ["whole_medium"]


def whole_medium(medium: Medium) -> GridTokens | TimeTokens:
    """Map every token of a medium to all of it, and say so."""
    warnings.warn(
        f"omnitrace knows no map of {medium.part.modality} tokens for "
        f"{type(medium.processor).__name__}: {name_of(medium.part)} is one source unit",
        RuntimeWarning,
        stacklevel=2,
    )
    positions = list(medium.positions)
    if medium.part.modality == "image":
        rest = whole(medium, positions[1:], 1, len(positions) - 1)
        return image_grid(medium, 1, 1, positions[:1], [rest] if positions[1:] else [])
    media = medium.audio if medium.sound else medium.part.media
    assert not isinstance(media, LoadedImage)
    seconds = media.start, media.end
    kind = "audio" if medium.sound else medium.part.modality
    return TimeTokens(medium.part, kind, positions, [seconds] * len(positions), media.end)
