"""Prove a map of tokens causally: change one place of a medium, and see which token changes most.

A rule of places may count its tokens rightly and still have them in the wrong order. So a place of
the *user's own* medium is changed (the pixels of a cell, a click in the audio, a frame of the
video), the processor and the towers run again, and the token whose embedding changes most must be
the one that claims that place. An untrained tower will do: it mixes neighbours less than it reads
its own patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from omnitrace.media import (
    LoadedAudio,
    LoadedImage,
    LoadedVideo,
    load_audio,
    load_image,
    load_video,
)
from omnitrace.models.base import Encoded, ModelAdapter
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, Part, TextPart
from omnitrace.sources.token_map import Box, GridTokens, TimeTokens
from omnitrace.types import Modality

__all__ = ["Found", "audio_places", "image_places", "video_places"]

_RATE: Final = 16_000
_LAST: Final = _RATE // 20
_BLOCKS: Final = 8
_SIZES: Final = ((200, 120), (90, 230), (301, 157), (64, 64))
_Media: TypeAlias = LoadedImage | LoadedAudio | LoadedVideo


@dataclass(frozen=True, slots=True)
class Found:
    """How many changed places were found at the token that claims them.

    ``near`` counts those at most one token away, in each direction; ``first_miss`` says what the
    first of the others was.
    """

    total: int = 0
    exact: int = 0
    near: int = 0
    first_miss: str = ""

    def with_case(self, distance: int, miss: str) -> Found:
        """Count one more place, found ``distance`` tokens away."""
        return Found(
            self.total + 1,
            self.exact + (distance == 0),
            self.near + (distance <= 1),
            self.first_miss or (miss if distance > 1 else ""),
        )


def _encode(adapter: ModelAdapter, media: Sequence[_Media]) -> Encoded:
    kinds: dict[type, Modality] = {
        LoadedImage: "image",
        LoadedAudio: "audio",
        LoadedVideo: "video",
    }
    parts: list[Part] = [
        MediaPart(0, number, "user", kinds[type(medium)], medium)
        for number, medium in enumerate(media)
    ]
    parts.append(TextPart(0, len(parts), "user", "What?", is_source=False))
    options = SourceOptions(use_audio_in_video=False)
    return adapter.encode(Conversation(("user",), tuple(parts)), options)


def _grids(encoded: Encoded, part: int, kind: type) -> Any:
    """Return the tokens of a part."""
    return next(
        tokens
        for tokens in encoded.geometry
        if isinstance(tokens, kind) and tokens.part.part == part
    )


def _change(
    adapter: ModelAdapter, before: np.ndarray, media: Sequence[_Media], part: int, kind: type
) -> np.ndarray:
    """Return how much the embedding of each token of a part changes: ``[tokens]``."""
    encoded = _encode(adapter, media)
    after = _shown(adapter, encoded, _grids(encoded, part, kind))
    change: np.ndarray = np.linalg.norm(after - before, axis=-1)
    return change


def _shown(adapter: ModelAdapter, encoded: Encoded, tokens: GridTokens | TimeTokens) -> np.ndarray:
    """Return the embeddings of a part's tokens, those of overviews after the others."""
    if isinstance(tokens, TimeTokens):
        return adapter.features(encoded, tokens)
    places = [*tokens.positions, *(p for view in tokens.overviews for p in view.positions)]
    return adapter.features(encoded, replace(tokens, positions=places, overviews=()))


def _painted(pixels: np.ndarray, box: tuple[float, float, float, float], draw: Any) -> np.ndarray:
    """Return the image with black and white noise in a box."""
    x0, y0 = round(box[0]), round(box[1])
    x1, y1 = max(x0 + 1, round(box[2])), max(y0 + 1, round(box[3]))
    changed = pixels.copy()
    inside = changed[y0:y1, x0:x1]
    # Of blocks, because finer noise is grey again where the processor makes the image smaller.
    down, across = (np.arange(side) * _BLOCKS // side for side in inside.shape[:2])
    colours = 255 * draw.integers(0, 2, (_BLOCKS, _BLOCKS, 3), dtype=np.uint8)
    inside[:] = colours[down][:, across]
    return changed


def _others(adapter: ModelAdapter, other: _Media, kind: Modality) -> list[_Media]:
    """Return a medium to stand before the one that is changed, where the model takes several."""
    family = getattr(adapter, "family", None)
    return [] if family is not None and kind in family.one_each else [other]


def image_places(adapter: ModelAdapter, cases: int, *, seed: int = 0) -> tuple[Found, Found]:
    """Paint cells of images of several shapes, each after another image.

    Parameters
    ----------
    adapter:
        Its model takes images.
    cases:
        How many cells of the grid, and how many of overviews.
    seed:
        Of the cells and what is painted there.

    Returns
    -------
    Found, Found
        At tokens of the grid; and at as many tokens of overviews, where there are any.
    """
    draw = np.random.default_rng(seed)
    fine, coarse = Found(), Found()
    for size, count in _shared(cases, len(_SIZES)):
        width, height = _SIZES[size]
        # Of colours, because a grey one is next to nothing for a tower: what little of a change it
        # spreads to neighbours would be all that these show.
        pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
        first = load_image(draw.integers(0, 256, (90, 120, 3), dtype=np.uint8))
        others = _others(adapter, first, "image")
        encoded = _encode(adapter, [*others, load_image(pixels)])
        tokens: GridTokens = _grids(encoded, len(others), GridTokens)
        before = _shown(adapter, encoded, tokens)
        trial = _Trial(adapter, others, pixels, before, draw)
        own, *again = _views(tokens)
        for cell in draw.integers(0, tokens.rows * tokens.columns, count).tolist():
            fine = trial.with_cell(own, cell, fine)
        # What shows padding more than the image cannot be painted.
        shown = [(view, cell) for view in again for cell in view.inside(width, height)]
        for number in draw.integers(0, len(shown), count if shown else 0).tolist():
            view, cell = shown[number]
            coarse = trial.with_cell(view, cell, coarse)
    return fine, coarse


@dataclass(frozen=True, slots=True)
class _View:
    """The grid of an image or of an overview, and where its tokens stand among all of them."""

    rows: int
    columns: int
    first: int
    cell: Callable[[int], Box]

    def inside(self, width: int, height: int) -> Iterator[int]:
        for number in range(self.rows * self.columns):
            x0, y0, x1, y1 = self.cell(number)
            if (x0 + x1) / 2 < width and (y0 + y1) / 2 < height:
                yield number


@dataclass(frozen=True, slots=True)
class _Trial:
    """An image whose cells are painted, and what its tokens were before."""

    adapter: ModelAdapter
    others: Sequence[_Media]
    pixels: np.ndarray
    before: np.ndarray
    draw: np.random.Generator

    def with_cell(self, view: _View, cell: int, known: Found) -> Found:
        painted = load_image(_painted(self.pixels, view.cell(cell), self.draw))
        media = [*self.others, painted]
        change = _change(self.adapter, self.before, media, len(self.others), GridTokens)
        top = int(change[view.first :][: view.rows * view.columns].argmax())
        miss = f"cell {cell} of {view.rows} x {view.columns} was found at {top}"
        return known.with_case(_apart(cell, top, view.columns), miss)


def _views(tokens: GridTokens) -> list[_View]:
    views = [_View(tokens.rows, tokens.columns, 0, tokens.cell)]
    for view in tokens.overviews:
        first = views[-1].first + views[-1].rows * views[-1].columns
        views.append(_View(view.rows, view.columns, first, view.cell))
    return views


def _shared(cases: int, among: int) -> Iterator[tuple[int, int]]:
    for number in range(among):
        yield number, cases // among + (number < cases % among)


def _apart(a: int, b: int, columns: int) -> int:
    (row, column), (other_row, other_column) = divmod(a, columns), divmod(b, columns)
    return max(abs(row - other_row), abs(column - other_column))


def audio_places(adapter: ModelAdapter, cases: int, *, seed: int = 0) -> Found:
    """Put a click of 10 ms in the middle of a token's seconds, after another audio."""
    draw = np.random.default_rng(seed)
    found = Found()
    for length, count in _shared(cases, 2):
        seconds = (3.17, 7.9)[length]
        quiet = 0.001 * draw.normal(size=int(seconds * _RATE))
        first = load_audio((0.1 * draw.normal(size=_RATE)).astype(np.float32))
        others = _others(adapter, first, "audio")
        encoded = _encode(adapter, [*others, load_audio(quiet.astype(np.float32))])
        tokens: TimeTokens = _grids(encoded, len(others), TimeTokens)
        before = adapter.features(encoded, tokens)
        for index in draw.integers(0, len(tokens.positions), count).tolist():
            loud, middle = quiet.copy(), int(sum(tokens.intervals[index]) / 2 * _RATE)
            inside = slice(max(0, middle - 80), middle + 80)
            loud[inside] = 0.5 * draw.normal(size=loud[inside].shape)
            media = [*others, load_audio(loud.astype(np.float32))]
            change = _change(adapter, before, media, len(others), TimeTokens)
            if not change.any() and middle > len(quiet) - _LAST:
                continue  # the end that fills no window of the feature extractor is heard nowhere
            top = int(change.argmax())
            miss = f"a click at {tokens.intervals[index]} s was found at {tokens.intervals[top]}"
            found = found.with_case(abs(top - index), miss)
    return found


def video_places(adapter: ModelAdapter, cases: int, *, seed: int = 0) -> Found:
    """Repaint one frame of a video, whose frames are not all as long."""
    draw = np.random.default_rng(seed)
    pixels = np.full((8, 96, 128, 3), 128, np.uint8)
    encoded = _encode(adapter, [load_video((pixels, 2.0), fps=2.0)])
    tokens: TimeTokens = _grids(encoded, 0, TimeTokens)
    before = adapter.features(encoded, tokens)
    steps = sorted(set(tokens.intervals))
    found = Found()
    for frame in draw.integers(0, len(pixels), cases).tolist():
        changed = pixels.copy()
        changed[frame] = 255 * draw.integers(0, 2, changed[frame].shape, dtype=np.uint8)
        media = [load_video((changed, 2.0), fps=2.0)]
        top = tokens.intervals[int(_change(adapter, before, media, 0, TimeTokens).argmax())]
        wanted = next(i for i, (start, end) in enumerate(steps) if start <= frame / 2 < end)
        miss = f"frame {frame} (at {frame / 2} s) was found at {top}"
        found = found.with_case(abs(steps.index(top) - wanted), miss)
    return found


PROOFS: Final[dict[str, Callable[..., Any]]] = {
    "image": image_places,
    "audio": audio_places,
    "video": video_places,
}
