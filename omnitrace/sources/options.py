"""What counts as a source, and how finely sources are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omnitrace.errors import InputError

__all__ = ["SourceOptions"]

_CHOICES: dict[str, tuple[object, ...]] = {
    "text": ("sentence", "paragraph", "whole"),
    "image": ("grid", "whole"),
    "use_audio_in_video": (True, False, "auto"),
    "audio_in_video": ("separate", "joined"),
}


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a request is cut into source units.

    Attributes
    ----------
    text:
        Units of source texts without units of their own.
    image:
        A grid of regions, or the whole image as one unit.
    image_grid:
        ``(rows, columns)`` of the grid; None adapts it to the model's patch grid: about four
        square regions along the longer side, none smaller than 2 × 2 vision tokens.
    audio_bin, video_bin:
        Length of a time bin in seconds.
    video_fps:
        Frames per second that are sampled from a video and fed to the model.
    use_audio_in_video:
        Whether the model hears a video's sound, where it can. "auto": if every video has one.
    audio_in_video:
        Whether the sound and the pictures of one time bin are two units or one.
    system, history:
        Whether the texts of system messages and of earlier turns are sources. Media are sources
        wherever they stand.
    language:
        Language of the texts, for sentence boundaries (ISO 639-1).
    """

    text: Literal["sentence", "paragraph", "whole"] = "sentence"
    image: Literal["grid", "whole"] = "grid"
    image_grid: tuple[int, int] | None = None
    audio_bin: float = 1.0
    video_bin: float = 1.0
    video_fps: float = 2.0
    use_audio_in_video: bool | Literal["auto"] = "auto"
    audio_in_video: Literal["separate", "joined"] = "separate"
    system: bool = False
    history: bool = False
    language: str = "en"

    def __post_init__(self) -> None:
        for name, legal in _CHOICES.items():
            value = getattr(self, name)
            if value not in legal:
                raise InputError(
                    f"SourceOptions.{name} is {value!r}",
                    legal=", ".join(repr(choice) for choice in legal),
                )
        for name in ("audio_bin", "video_bin", "video_fps"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise InputError(f"SourceOptions.{name} is {value!r}", legal="a positive number")
        if self.image_grid is not None and min(self.image_grid) < 1:
            raise InputError(
                f"SourceOptions.image_grid is {self.image_grid!r}",
                legal="(rows, columns), both at least 1",
            )
