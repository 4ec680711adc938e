"""What counts as a source, and how finely sources are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from omnitrace.errors import InputError
from omnitrace.sources.unitizers.base import ImageUnitizer, TimeUnitizer, Unitizer, make_unitizer
from omnitrace.types import Modality

__all__ = ["SourceOptions"]

_CHOICES: dict[str, tuple[object, ...]] = {
    "text": ("sentence", "paragraph", "whole", "documents"),
    "system": (True, False, "auto"),
    "history": (True, False, "auto"),
    "use_audio_in_video": (True, False, "auto"),
    "audio_in_video": ("separate", "joined"),
}


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a request is cut into source units.

    Attributes
    ----------
    text:
        Units of source texts without units of their own. "documents" are those that one string
        holds, by their marks: ``[1] …``, ``Document 2: …``, XML elements, Markdown headings, lines
        of dashes, triple quotes; a text without such marks is one document.
    image:
        What cuts images without boxes of their own into regions: the name of a unitizer ("grid",
        "whole", "ward", "slic", or a plugin's; see ``omnitrace list unitizers``), a name with
        parameters (``"ward:regions=40"``, or as :meth:`record` gives it), or a unitizer.
    audio, video:
        What cuts recordings, and videos with or without their sound, into stretches of time: the
        same for "bins" and "changes".
    image_grid:
        With ``image="grid"``: ``(rows, columns)`` of the grid; None adapts it to the model's patch
        grid: about four square regions along the longer side, none smaller than 2 × 2 vision
        tokens, and of a panorama up to 16 in a row.
    audio_bin, video_bin:
        With "bins": length of a time bin in seconds.
    video_fps:
        Frames per second that are sampled from a video and fed to the model.
    use_audio_in_video:
        Whether the model gets a video's sound, where it can use it. "auto": if every video has one.
    audio_in_video:
        Whether the sound and the pictures of one time bin are two units or one.
    system, history:
        Whether the texts of system messages and of earlier turns are sources. "auto": where the
        last user message holds no source, and no text is marked as one. Media are sources wherever
        they stand.
    language:
        Language of the texts, for sentence boundaries (ISO 639-1).
    """

    text: Literal["sentence", "paragraph", "whole", "documents"] = "sentence"
    image: str | Mapping[str, Any] | ImageUnitizer = "grid"
    audio: str | Mapping[str, Any] | TimeUnitizer = "bins"
    video: str | Mapping[str, Any] | TimeUnitizer = "bins"
    image_grid: tuple[int, int] | None = None
    audio_bin: float = 1.0
    video_bin: float = 1.0
    video_fps: float = 2.0
    use_audio_in_video: bool | Literal["auto"] = "auto"
    audio_in_video: Literal["separate", "joined"] = "separate"
    system: bool | Literal["auto"] = "auto"
    history: bool | Literal["auto"] = "auto"
    language: str = "en"
    _made: dict[str, Unitizer] = field(init=False, repr=False, compare=False, default_factory=dict)

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
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 1e-3 <= value <= 1e6:
                raise InputError(
                    f"SourceOptions.{name} is {value!r}",
                    legal="a positive number, from 0.001 to a million",
                )
        if self.image_grid is not None and min(self.image_grid) < 1:
            raise InputError(
                f"SourceOptions.image_grid is {self.image_grid!r}",
                legal="(rows, columns), both at least 1",
            )
        if self.image_grid is not None and self.image != "grid":
            raise InputError(
                f"SourceOptions.image_grid is {self.image_grid!r} and image is {self.image!r}",
                legal="image_grid with image='grid'",
            )
        # Made once: a unitizer may hold a model of its own.
        self._made["image"] = self._image()
        for modality, seconds in (("audio", self.audio_bin), ("video", self.video_bin)):
            self._made[modality] = self._time(modality, seconds)

    def _image(self) -> ImageUnitizer:
        if self.image_grid is not None:
            from omnitrace.sources.unitizers.image import Grid

            return Grid(*self.image_grid)
        made: ImageUnitizer = make_unitizer(
            self.image, ImageUnitizer, "image", "SourceOptions.image"
        )
        return made

    def _time(self, modality: str, seconds: float) -> TimeUnitizer:
        value = getattr(self, modality)
        if value == "bins":
            from omnitrace.sources.unitizers.time import Bins

            return Bins(seconds)
        made: TimeUnitizer = make_unitizer(
            value, TimeUnitizer, modality, f"SourceOptions.{modality}"
        )
        return made

    @property
    def image_unitizer(self) -> ImageUnitizer:
        """What cuts images."""
        made = self._made["image"]
        assert isinstance(made, ImageUnitizer)
        return made

    def time_unitizer(self, modality: Modality) -> TimeUnitizer:
        """Return what cuts media of a modality, "audio" or "video"."""
        made = self._made[modality]
        assert isinstance(made, TimeUnitizer)
        return made

    def record(self) -> dict[str, Any]:
        """Return the options as JSON values; unitizers with their names and parameters."""
        plain = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("_made", "image_grid", "audio_bin", "video_bin", "language")
        }
        return plain | {
            modality: {"name": made.name, "parameters": dict(made.parameters)}
            for modality, made in self._made.items()
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], language: str = "en") -> SourceOptions:
        """Return the options that :meth:`record` described.

        Raises
        ------
        InputError
            If a unitizer is not installed here, or its parameters are not enough to make it.
        """
        unknown = set(record) - {each.name for each in fields(cls) if each.init}
        if unknown:
            raise InputError(
                f"the source options have {sorted(unknown)[0]!r}",
                legal="what SourceOptions.record() gives",
            )
        return cls(**{**record, "language": language})
