"""The size at which a picture is shown to the model, where its message asks for one.

A picture is scaled before the processor sees it; that it then has this size is checked by the grid
of patches that the processor reports. Regions stay in the pixels of the original. Only processors
that take pictures of any size can be told (those with a grid of patches for each: Qwen-VL,
Qwen-Omni, GLM-V); others squeeze every picture into the sizes that they know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import PIL.Image
import torch

from omnitrace.errors import InputError
from omnitrace.media import LoadedImage, LoadedVideo
from omnitrace.media.limits import DEFAULT_LIMITS
from omnitrace.sources.asked import PIXELS
from omnitrace.sources.parts import MediaPart
from omnitrace.sources.unitizers.user_defined import name_of

__all__ = ["check_sizes", "keeps_sizes", "refuse_sizes", "shown_frames", "shown_image"]

_GRIDS: Final = {"image": "image_grid_thw", "video": "video_grid_thw"}


def shown_image(part: MediaPart, processor: Any) -> PIL.Image.Image:
    """Return an image at the size that its message asks for, else as it is.

    Raises
    ------
    InputError
        If the processor cannot be told a size.
    """
    assert isinstance(part.media, LoadedImage)
    pixels = part.media.pixels
    size = _wanted(part, pixels.size, 1, processor)
    return pixels if size is None else pixels.resize(size, PIL.Image.Resampling.BICUBIC)


def shown_frames(part: MediaPart, processor: Any) -> np.ndarray:
    """Return the frames ``[T, H, W, 3]`` of a video at the size that its message asks for.

    Raises
    ------
    InputError
        If the processor cannot be told a size.
    """
    assert isinstance(part.media, LoadedVideo)
    video = part.media
    size = _wanted(part, (video.width, video.height), len(video.frames), processor)
    if size is None:
        return video.frames
    needed = len(video.frames) * size[0] * size[1] * 3
    if needed > DEFAULT_LIMITS.max_video_bytes:
        raise InputError(
            f"the {len(video.frames)} frames of {name_of(part)} need {needed} bytes at "
            f"{size[0]}x{size[1]} pixels",
            legal=f"at most {DEFAULT_LIMITS.max_video_bytes} bytes",
            fix="ask for a smaller size, or for fewer frames",
        )
    bicubic = PIL.Image.Resampling.BICUBIC
    scaled = [PIL.Image.fromarray(frame).resize(size, bicubic) for frame in video.frames]
    return np.stack([np.asarray(frame) for frame in scaled])


def keeps_sizes(parts: Sequence[MediaPart]) -> bool:
    """Whether every one of some pictures has a largest size, so that none need be scaled again."""
    most = ("max_pixels", "total_pixels", "resized_height")
    return all(any(name in part.asked for name in most) for part in parts)


def refuse_sizes(part: MediaPart, processor: Any) -> None:
    """Refuse a part that asks for a size.

    Raises
    ------
    InputError
        That says where sizes can be set.
    """
    asked = _asked(part)
    if asked:
        raise InputError(
            f"{name_of(part)} asks for {asked[0]!r}, which {type(processor).__name__} cannot be "
            f"told for one {part.modality}",
            legal="models that take pictures of any size, such as Qwen-VL, Qwen-Omni and GLM-V",
            fix="set the size where the processor is loaded, AutoProcessor.from_pretrained(name, "
            f"…), or resize the {part.modality}",
        )


def check_sizes(parts: Sequence[MediaPart], processor: Any, output: Any) -> None:
    """Check that pictures were shown at the sizes that their messages ask for.

    Parameters
    ----------
    parts:
        The images or the videos of a request, in order.
    processor:
        The processor.
    output:
        What it made of them.

    Raises
    ------
    InputError
        If its own limits have prevented it.
    """
    for index, part in enumerate(parts):
        if not _asked(part):
            continue
        own = _own(part, processor)
        grid = [int(each) for each in torch.as_tensor(output[_GRIDS[part.modality]][index])]
        height, width = grid[1] * own.patch_size, grid[2] * own.patch_size
        low, high, exact = _bounds(part, grid[0] * own.temporal_patch_size, own)
        # Sides are whole tokens: between two bounds there may be none.
        low -= own.patch_size * own.merge_size * (width + height)
        if exact not in (None, (width, height)) or not low <= height * width <= high:
            wanted = ", ".join(f"{name}={part.asked[name]:g}" for name in _asked(part))
            raise InputError(
                f"{name_of(part)} asks for {wanted}, and {type(processor).__name__} shows it at "
                f"{width}x{height} pixels",
                legal=f"sizes within the processor's own, {dict(own.size)}",
                fix=f"give every {part.modality} of the request a 'max_pixels' too, or load the "
                "processor with other limits, e.g. AutoProcessor.from_pretrained(name, "
                "max_pixels=…)",
            )


def _asked(part: MediaPart) -> list[str]:
    return [name for name in PIXELS if name in part.asked]


def _own(part: MediaPart, processor: Any) -> Any:
    """Return the image or video processor, if it takes pictures of any size."""
    own = getattr(processor, f"{part.modality}_processor", None)
    takes = all(hasattr(own, name) for name in ("merge_size", "patch_size", "temporal_patch_size"))
    if own is None or not takes or _GRIDS[part.modality] not in own.model_input_names:
        refuse_sizes(part, processor)
    return own


def _bounds(part: MediaPart, frames: int, own: Any) -> tuple[float, float, tuple[int, int] | None]:
    """Return the fewest and the most pixels of a picture, and the exact size if one is asked for.

    ``total_pixels`` are those of all tokens of a video, each of which shows several frames.
    """
    asked, factor = part.asked, own.patch_size * own.merge_size
    exact = None
    if "resized_height" in asked:
        sides = asked["resized_width"], asked["resized_height"]
        width, height = (max(factor, round(side / factor) * factor) for side in sides)
        exact = width, height
    total = asked.get("total_pixels", math.inf) / max(1, frames / own.temporal_patch_size)
    return asked.get("min_pixels", 0), min(asked.get("max_pixels", math.inf), total), exact


def _wanted(
    part: MediaPart, size: tuple[int, int], frames: int, processor: Any
) -> tuple[int, int] | None:
    """Return the width and height to show, multiples of what a token covers; None as they are."""
    if not _asked(part):
        return None
    own = _own(part, processor)
    factor = own.patch_size * own.merge_size
    padded = math.ceil(frames / own.temporal_patch_size) * own.temporal_patch_size
    low, high, exact = _bounds(part, padded, own)
    if exact is not None:
        return exact
    least = factor * factor
    if high < least:
        raise InputError(
            f"{name_of(part)} asks for at most {high:g} pixels, and a token shows {least}",
            legal=f"at least {least}",
        )
    if part.modality == "image":  # of a video some processors count all frames together
        low = max(low, min(high, dict(own.size).get("shortest_edge") or 0))
    width, height = (max(factor, round(side / factor) * factor) for side in size)
    if width * height > high:
        width, height = _scaled(size, math.sqrt(high / math.prod(size)), factor, math.floor)
    elif width * height < low:
        width, height = _scaled(size, math.sqrt(low / math.prod(size)), factor, math.ceil)
    if width * height > high:  # a side that is one token leaves less to the other
        width = min(width, max(factor, int(high / height / factor) * factor))
        height = min(height, max(factor, int(high / width / factor) * factor))
    return width, height


def _scaled(
    size: tuple[int, int], scale: float, factor: int, to_whole: Callable[[float], int]
) -> tuple[int, int]:
    width, height = (max(factor, to_whole(side * scale / factor) * factor) for side in size)
    return width, height
