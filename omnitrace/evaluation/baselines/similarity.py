"""The baseline of an embedder of the user's: how alike a span and each unit are to another model.

Text units are embedded as they stand in the request, regions as the crop of their box, seconds of a
video as the mean of their frames. What an embedder cannot embed gets no score.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from omnitrace.errors import InputError
from omnitrace.evaluation.baselines.trivial import Prediction, best_units
from omnitrace.evaluation.labels.matching import part_of
from omnitrace.trace.trace import Trace
from omnitrace.types import ImageRegion, SourceUnit, TextRange, TimeRange

if TYPE_CHECKING:
    from PIL.Image import Image

    from omnitrace.media import LoadedImage, LoadedVideo

__all__ = ["EMBEDDER", "Embedder", "UnitEmbeddings"]

#: The pictures that a unit shows.
_Pictures: TypeAlias = "Callable[[SourceUnit], list[Image]]"

#: Name of the method.
EMBEDDER: Final = "embedder"


class Embedder(Protocol):
    """Embeds texts, and pictures if it sees.

    Attributes
    ----------
    name:
        What it is called in reports.
    sees:
        Whether it embeds pictures, in the space of its texts.
    """

    name: str
    sees: bool

    def texts(self, texts: Sequence[str], /) -> np.ndarray:
        """Return float ``[texts, width]``."""

    def images(self, images: Sequence[Image], /) -> np.ndarray:
        """Return float ``[images, width]``; called only if it sees."""


class UnitEmbeddings:
    """Compares spans with units in an embedder, and embeds nothing twice.

    Parameters
    ----------
    embedder:
        A model, such as :func:`~omnitrace.evaluation.baselines.embedders.load_embedder` returns.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._texts: dict[str, np.ndarray] = {}
        self._pictures: dict[object, np.ndarray] = {}

    def similarities(
        self, trace: Trace, ranges: Sequence[tuple[int, int]]
    ) -> tuple[list[Prediction], Counter[str]]:
        """Score the units of a trace by cosine similarity with parts of its response.

        Parameters
        ----------
        trace:
            The trace, not redacted; where the embedder sees, with its media.
        ranges:
            Half-open ranges of generated tokens.

        Returns
        -------
        tuple
            A prediction for each range: of the units that are embedded the cosine, in [-1, 1]; the
            others, without a score, stand at the lowest of these and 0. Chosen is the most similar
            unit, none where no cosine is above 0. And how many units are not embedded, by modality.

        Raises
        ------
        InputError
            If the trace is redacted, or lacks media that the embedder would look at.
        """
        if any(token < 0 for token in trace.token_ids):
            raise InputError(
                "the trace is redacted, and has no texts to embed", legal="a trace with its texts"
            )
        units = self._units(trace)
        known = [index for index, each in enumerate(units) if each is not None]
        table = np.array([units[index] for index in known])
        spans = self._embedded_texts([_said(trace, *each) for each in ranges])
        found = []
        for said in spans:
            scores = np.zeros(len(units))
            if known:
                scores[known] = table @ said
                scores[[each is None for each in units]] = min(0.0, float(scores.min()))
            found.append(best_units(trace.units, scores, 1))
        left_out = (unit for unit, each in zip(trace.units, units, strict=True) if each is None)
        return found, Counter(unit.modality for unit in left_out)

    def _units(self, trace: Trace) -> list[np.ndarray | None]:
        """Return the embedding of each unit of a trace, of length 1; None of one without."""
        found: list[np.ndarray | None] = [None] * len(trace.units)
        texts = {i: _quoted(trace, unit) for i, unit in enumerate(trace.units) if _is_text(unit)}
        for index, row in zip(texts, self._embedded_texts(list(texts.values())), strict=True):
            found[index] = row
        seen = {i: unit for i, unit in enumerate(trace.units) if _is_picture(unit)}
        if seen and self.embedder.sees:
            pictures = functools.cache(lambda: _pictures(trace))  # decoded only for what is new
            for index, unit in seen.items():
                found[index] = self._looked_at(trace, unit, pictures)
        return found

    def _embedded_texts(self, texts: Sequence[str]) -> np.ndarray:
        new = [each for each in dict.fromkeys(texts) if each not in self._texts]
        if new:
            rows = _checked(self.embedder.texts(new), len(new), self.embedder.name)
            self._texts.update(zip(new, rows, strict=True))
        return np.array([self._texts[each] for each in texts])

    def _looked_at(
        self, trace: Trace, unit: SourceUnit, pictures: Callable[[], _Pictures]
    ) -> np.ndarray | None:
        """Return the mean embedding of the pictures that a unit shows; None if it shows none."""
        locator = unit.locator
        assert isinstance(locator, ImageRegion | TimeRange)
        place = locator.box if isinstance(locator, ImageRegion) else locator.frames
        digests = {(each.message, each.part): each.sha256 for each in trace.media}
        key = (digests[locator.message, locator.part], place)
        if key not in self._pictures:
            shown = pictures()(unit)
            if not shown:
                return None
            rows = _checked(self.embedder.images(shown), len(shown), self.embedder.name)
            self._pictures[key] = _normalised(rows.mean(axis=0, keepdims=True))[0]
        return self._pictures[key]


def _is_text(unit: SourceUnit) -> bool:
    return isinstance(unit.locator, TextRange)


def _is_picture(unit: SourceUnit) -> bool:
    return unit.modality in ("image", "video")


def _quoted(trace: Trace, unit: SourceUnit) -> str:
    locator = unit.locator
    assert isinstance(locator, TextRange)
    part = part_of(trace.messages, locator.message, locator.part)
    assert part is not None, "units are of the request"
    return str(part["text"])[locator.start : locator.end]


def _said(trace: Trace, first: int, last: int) -> str:
    tokens = trace.tokens[first:last]
    return trace.text[tokens[0].start : tokens[-1].end].strip() if tokens else ""


def _pictures(trace: Trace) -> _Pictures:
    """Read the media of a trace, and return what cuts out the pictures of a unit."""
    # Imported here: evaluating by labels alone waits for no reader of media.
    from PIL.Image import fromarray

    from omnitrace.media.limits import DEFAULT_LIMITS
    from omnitrace.sources.messages import read_messages
    from omnitrace.sources.options import SourceOptions

    options = trace.provenance.source_options() or SourceOptions()
    conversation = read_messages(trace.request(), options=options, limits=DEFAULT_LIMITS)
    media = {(part.message, part.part): part.media for part in conversation.media()}

    def cut(unit: SourceUnit) -> list[Image]:
        locator = unit.locator
        medium = media[locator.message, locator.part]
        if isinstance(locator, ImageRegion):
            return [_crop(medium, locator)]  # type: ignore[arg-type]
        assert isinstance(locator, TimeRange)
        return [fromarray(frame) for frame in _frames(medium, locator)]  # type: ignore[arg-type]

    return cut


def _crop(image: LoadedImage, region: ImageRegion) -> Image:
    """Return the pixels that a box touches."""
    x0, y0, x1, y1 = region.box
    left, top = min(int(x0), image.width - 1), min(int(y0), image.height - 1)
    right, bottom = (
        min(max(int(np.ceil(far)), near + 1), size)
        for far, near, size in ((x1, left, image.width), (y1, top, image.height))
    )
    return image.pixels.crop((left, top, right, bottom))


def _frames(video: LoadedVideo, seconds: TimeRange) -> Iterator[np.ndarray]:
    """Yield the frames of a range that the model was fed, each once."""
    numbers = video.frame_indices.tolist()
    for frame in seconds.frames:
        if frame in numbers:
            yield video.frames[numbers.index(frame)]


def _checked(rows: np.ndarray, count: int, name: str) -> np.ndarray:
    """Return float64 ``[count, width]``, of length 1 each; an embedding of zeros stays so."""
    found = np.asarray(rows, dtype=np.float64)
    if found.ndim != 2 or len(found) != count or not np.isfinite(found).all():
        raise InputError(
            f"the embedder {name!r} gives embeddings of shape {found.shape} for {count}, or such "
            "that are not finite",
            legal=f"finite numbers, [{count}, width]",
        )
    return _normalised(found)


def _normalised(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: np.ndarray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return found
