"""Input operators: text dropped, regions greyed or blurred, sound silenced, frames frozen.

They act on a part as the user passed it; the model's own processor and towers then see the changed
part as they would see any other. Towers look around: what is greyed in one region also changes the
tokens of its neighbours.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

from omnitrace.ablation.operators import InputOperator
from omnitrace.errors import InputError
from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo
from omnitrace.media.audio import SAMPLE_RATE
from omnitrace.sources.parts import MediaPart, Part, TextPart
from omnitrace.sources.regions import cell_box
from omnitrace.types import ImageRegion, Modality, SourceUnit, TextRange, TimeRange

__all__ = ["AT_THE_INPUT", "Blur", "Drop", "Freeze", "Grey", "Silence"]

#: The input operator that is taken for each modality where none is named.
AT_THE_INPUT: Final[Mapping[Modality, str]] = {
    "text": "drop",
    "image": "grey",
    "audio": "silence",
    "video": "freeze",
}

_GREY: Final = 128
_L = TypeVar("_L", TextRange, ImageRegion, TimeRange)


class Drop(InputOperator):
    """The characters of the unit are left out of its text, which is then tokenized again.

    What follows moves up: later tokens get earlier positions, and one at a seam may be another.
    """

    name = "drop"
    modalities = frozenset({"text"})

    def edit(self, part: Part, gone: Sequence[SourceUnit]) -> Part:
        """Return the text without the units' characters."""
        assert isinstance(part, TextPart)
        text = part.text
        ranges = [_locator(unit, TextRange) for unit in gone]
        for place in sorted(ranges, key=lambda r: -r.start):
            text = text[: place.start] + text[place.end :]
        return dataclasses.replace(part, text=text, units=None)


class Grey(InputOperator):
    """The pixels of the region become a medium grey."""

    name = "grey"
    modalities = frozenset({"image"})

    def edit(self, part: Part, gone: Sequence[SourceUnit]) -> Part:
        """Return the image with the units' regions greyed."""
        image = _image(part)
        flat = PIL.Image.new("RGB", image.pixels.size, (_GREY, _GREY, _GREY))
        return _pasted(part, flat, gone)


class Blur(InputOperator):
    """The pixels of the region are blurred (Gaussian) until only their mean colour is left.

    Parameters
    ----------
    radius:
        Standard deviation of the blur, as a share of the image's longer side.
    """

    name = "blur"
    modalities = frozenset({"image"})

    def __init__(self, radius: float = 0.1) -> None:
        if not 0 < radius <= 1:
            raise InputError(f"radius is {radius!r}", legal="a number above 0, at most 1")
        self.radius = radius
        self.parameters = {"radius": radius}

    def edit(self, part: Part, gone: Sequence[SourceUnit]) -> Part:
        """Return the image with the units' regions blurred."""
        pixels = _image(part).pixels
        radius = self.radius * max(pixels.size)
        return _pasted(part, pixels.filter(PIL.ImageFilter.GaussianBlur(radius)), gone)


class Silence(InputOperator):
    """The samples of the seconds become zero, also in the sound of a video."""

    name = "silence"
    modalities = frozenset({"audio"})

    def edit(self, part: Part, gone: Sequence[SourceUnit]) -> Part:
        """Return the audio with the units' seconds silenced."""
        assert isinstance(part, MediaPart)
        media = part.media
        sound = media.audio if isinstance(media, LoadedVideo) else media
        assert isinstance(sound, LoadedAudio)
        samples = sound.samples.copy()
        for unit in gone:
            place = _locator(unit, TimeRange)
            first = max(0, round((place.start - sound.start) * SAMPLE_RATE))
            samples[first : max(first, round((place.end - sound.start) * SAMPLE_RATE))] = 0.0
        sound = dataclasses.replace(sound, samples=samples)
        if isinstance(media, LoadedVideo):
            return dataclasses.replace(part, media=dataclasses.replace(media, audio=sound))
        return dataclasses.replace(part, media=sound)


class Freeze(InputOperator):
    """The frames of the seconds are replaced by the nearest frame that is kept, the earlier of two.

    Where no frame is kept, all become a medium grey. The sound stays; where pictures and sound of
    a video are one unit (``SourceOptions(audio_in_video="joined")``), only "attention" and "mean"
    ablate the sound.
    """

    name = "freeze"
    modalities = frozenset({"video"})

    def edit(self, part: Part, gone: Sequence[SourceUnit]) -> Part:
        """Return the video with the units' frames frozen."""
        assert isinstance(part, MediaPart)
        video = part.media
        assert isinstance(video, LoadedVideo)
        lost = {frame for unit in gone for frame in _locator(unit, TimeRange).frames}
        kept = [i for i, frame in enumerate(video.frame_indices) if int(frame) not in lost]
        if kept:
            nearest = [min(kept, key=lambda k: abs(k - i)) for i in range(len(video.frames))]
            frames = video.frames[nearest]
        else:
            frames = np.full_like(video.frames, _GREY)
        return dataclasses.replace(part, media=dataclasses.replace(video, frames=frames))


def _locator(unit: SourceUnit, kind: type[_L]) -> _L:
    assert isinstance(unit.locator, kind), f"{unit.id} is located by a {type(unit.locator)}"
    return unit.locator


def _image(part: Part) -> LoadedImage:
    assert isinstance(part, MediaPart)
    assert isinstance(part.media, LoadedImage)
    return part.media


def _pasted(part: Part, over: PIL.Image.Image, gone: Sequence[SourceUnit]) -> MediaPart:
    """Return the part with ``over`` in the cells of the units: the exact mask, not its hull."""
    assert isinstance(part, MediaPart)
    image = _image(part)
    mask = PIL.Image.new("L", image.pixels.size, 0)
    draw = PIL.ImageDraw.Draw(mask)
    for unit in gone:
        place = _locator(unit, ImageRegion)
        for cell in place.cells:
            box = cell_box(cell, place.grid, image.pixels.size, place.canvas)
            # The pixels that the cell covers in part or whole.
            left, top = math.floor(box[0]), math.floor(box[1])
            right, bottom = math.ceil(box[2]), math.ceil(box[3])
            draw.rectangle((left, top, right - 1, bottom - 1), fill=255)
    pixels = PIL.Image.composite(over, image.pixels, mask)
    return dataclasses.replace(part, media=dataclasses.replace(image, pixels=pixels))
