"""What a rule of places is given of one medium, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from omnitrace.errors import ModelError
from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo
from omnitrace.sources.parts import MediaPart
from omnitrace.sources.token_map import Box, GridTokens, Overview, TimeTokens
from omnitrace.sources.unitizers.user_defined import name_of

__all__ = ["Medium", "Place", "expect", "image_grid", "runs", "tiled", "whole"]


@dataclass(frozen=True, slots=True)
class Medium:
    """One medium of a request, as the processor has put it into the prompt.

    Attributes
    ----------
    part:
        The part of the request.
    index:
        Its number among the media of its kind, in the order in which the processor took them.
    positions:
        Prompt positions of the tokens that are replaced by features of this medium, ascending.
    text, earlier:
        What the processor wrote in place of the medium's placeholder, and of those of its kind
        before it.
    processor:
        The processor.
    inputs:
        Everything that the processor returned, also what the model is not given.
    sound:
        The sound of a video, where these are its tokens and not those of the pictures.
    """

    part: MediaPart
    index: int
    positions: Sequence[int]
    text: str
    earlier: Sequence[str]
    processor: Any
    inputs: Mapping[str, Any]
    sound: LoadedAudio | None = None

    @property
    def image(self) -> LoadedImage:
        """The image."""
        assert isinstance(self.part.media, LoadedImage)
        return self.part.media

    @property
    def video(self) -> LoadedVideo:
        """The video."""
        assert isinstance(self.part.media, LoadedVideo)
        return self.part.media

    @property
    def audio(self) -> LoadedAudio:
        """The audio, or the sound of the video."""
        if self.sound is not None:
            return self.sound
        assert isinstance(self.part.media, LoadedAudio)
        return self.part.media

    def sizes(self, name: str) -> list[int]:
        """Return this medium's row of an input that has one row a medium."""
        return [int(each) for each in torch.as_tensor(self.inputs[name][self.index]).flatten()]


Place: TypeAlias = Callable[[Medium], GridTokens | TimeTokens]
"""A rule: says where in a medium each of its tokens lies."""


def expect(medium: Medium, tokens: int) -> None:
    """Refuse a map whose number of tokens is not the one that the prompt has.

    Raises
    ------
    ModelError
        If a rule counts another number of tokens than the processor wrote.
    """
    if len(medium.positions) != tokens:
        raise ModelError(
            f"{type(medium.processor).__name__} gives {name_of(medium.part)} "
            f"{len(medium.positions)} tokens, where its sizes say {tokens}",
            fix="check that processor and model are of the same release, and report this",
        )


def image_grid(
    medium: Medium,
    rows: int,
    columns: int,
    positions: Sequence[int] | None = None,
    overviews: Sequence[Overview] = (),
    canvas: Box | None = None,
) -> GridTokens:
    """Return a grid that covers the whole image as displayed, or a canvas on which it lies."""
    chosen = medium.positions if positions is None else positions
    if positions is None:
        expect(medium, rows * columns)
    size = medium.image.width, medium.image.height
    if canvas == (0, 0, *size):
        canvas = None
    return GridTokens(
        medium.part, list(chosen), rows, columns, *size, tuple(overviews), canvas=canvas
    )


def whole(medium: Medium, positions: Sequence[int], rows: int, columns: int) -> Overview:
    """Return an overview of the whole image."""
    box = (0.0, 0.0, float(medium.image.width), float(medium.image.height))
    return Overview(list(positions), rows, columns, box)


def tiled(positions: Sequence[int], tiles: tuple[int, int], cells: tuple[int, int]) -> list[int]:
    """Order the positions of tiles, one after another, as the rows of one grid.

    ``tiles`` is rows and columns of tiles, each of which is a grid of ``cells``.
    """
    grid = np.asarray(positions).reshape(*tiles, *cells)
    ordered: list[int] = grid.transpose(0, 2, 1, 3).reshape(-1).tolist()
    return ordered


def runs(positions: Sequence[int]) -> list[list[int]]:
    """Split ascending positions where some are left out between them."""
    found: list[list[int]] = []
    for position in positions:
        if found and found[-1][-1] == position - 1:
            found[-1].append(position)
        else:
            found.append([position])
    return found
