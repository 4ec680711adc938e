"""The values that flow through Omnitrace: locators, units, layouts, tokens, spans, supports.

All are frozen and hold plain Python or numpy values; none depends on a model, a signal or a file.
All ranges are half-open. Seconds are floats, pixels are those of the image as displayed (after
EXIF orientation, before any resize), characters index the Python string that the user passed.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np


__all__ = [
    "Effect",
    "EffectKind",
    "ImageRegion",
    "Layout",
    "Locator",
    "MediaRecord",
    "Modality",
    "PositionKind",
    "Section",
    "SourceUnit",
    "Span",
    "SpanEffects",
    "Support",
    "TextRange",
    "TimeRange",
    "TokenTrace",
    "Verdict",
]

Modality: TypeAlias = Literal["text", "image", "audio", "video"]
# A section of a response: what the model thinks before it answers, or the answer.
Section: TypeAlias = Literal["thought", "answer"]
# How a unit supports a span: it is missed when it alone is left out; it is enough alone, and others
# say the same; or it is one of several that only support the span together.
EffectKind: TypeAlias = Literal["necessary", "sufficient", "shared"]
# What verification finds of a span: sources support it; they hardly change it, so that it is the
# model's own; or the model would rather write it without them.
Verdict: TypeAlias = Literal["supported", "no-source", "against-sources"]


@dataclass(frozen=True, slots=True)
class TextRange:
    """Characters ``[start, end)`` of the text in ``messages[message]["content"][part]``."""

    message: int
    part: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ImageRegion:
    """A region of the image in ``messages[message]["content"][part]``.

    ``box`` is ``(x0, y0, x1, y1)`` in pixels of the image as displayed. ``grid`` is the
    ``(rows, columns)`` of the model's merged vision tokens and ``cells`` the row-major indices of
    those that carry the region: the exact mask, of which the box is the hull.

    Where the grid does not cover exactly the image, ``canvas`` is the box that it covers, in the
    same pixels: processors pad images to whole tokens. Regions end where the image ends.
    """

    message: int
    part: int
    box: tuple[float, float, float, float]
    grid: tuple[int, int]
    cells: tuple[int, ...]
    canvas: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Seconds ``[start, end)`` of the audio or video in ``messages[message]["content"][part]``.

    For video, ``frames`` are the indices (in the file) of the frames that the model was fed and
    that lie in the range. An audio track inside a video has the video's clock.
    """

    message: int
    part: int
    start: float
    end: float
    frames: tuple[int, ...] = ()


Locator: TypeAlias = TextRange | ImageRegion | TimeRange


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """The smallest thing that can be cited.

    ``positions`` are the ascending prompt token positions that carry the unit (never shared with
    another unit). ``preview`` is a short quote for text, empty for media and in redacted traces.
    ``source_id`` is the user's own name for the part (a document id), if one was given.
    ``transcript`` is what is said in a unit of audio or video, and ``speaker`` by whom, where a
    transcript or a recogniser says so; the model is not given them.
    """

    id: str
    modality: Modality
    locator: Locator
    positions: tuple[int, ...]
    preview: str = ""
    source_id: str | None = None
    transcript: str | None = None
    speaker: str | None = None

    @property
    def quote(self) -> str:
        """What a reader is shown of it: the text, or what is said and by whom; else empty."""
        if self.transcript is None:
            return self.preview
        return f"{self.speaker}: {self.transcript}" if self.speaker else self.transcript


class PositionKind(enum.IntEnum):
    """What a context position is. Every position has exactly one kind."""

    TEMPLATE = 0
    INSTRUCTION = 1
    SOURCE = 2
    GENERATED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The map from prompt token positions to source units.

    ``kinds`` is uint8 ``[prompt tokens]`` of :class:`PositionKind`; ``unit_index`` is int32
    ``[prompt tokens]``, the index into ``units`` or -1. Positions after the prompt are generated.
    """

    kinds: np.ndarray
    unit_index: np.ndarray
    units: tuple[SourceUnit, ...]

    @property
    def prompt_length(self) -> int:
        """Number of prompt tokens."""
        return int(self.kinds.shape[0])


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """One generated token and where its score mass went.

    ``start``/``end`` are its characters in the response text (equal where a token completes no
    character). ``unit`` is the id of the unit of highest mass, ``confidence`` that mass (OmniTrace,
    Algorithm 1); ``None`` and 0.0 where there is no unit. The four masses are shares of the row's
    total and sum to 1 (all zero for an all-zero row). ``grounding`` is the share on sources.
    """

    index: int
    id: int
    text: str
    start: int
    end: int
    unit: str | None
    confidence: float
    grounding: float
    instruction_mass: float
    template_mass: float
    generated_mass: float


@dataclass(frozen=True, slots=True)
class Effect:
    """The predicted or measured drop of a span's log-probability when a unit is ablated.

    ``value`` is in nats where the signal is calibrated; ``low``/``high`` bound it where known.
    ``kind`` is set on the units that verification found to support the span; what their value
    is then made of, :mod:`omnitrace.signals.verified.search` says.
    """

    value: float
    low: float | None = None
    high: float | None = None
    kind: EffectKind | None = None


class SpanEffects(dict[str, Effect]):
    """The effects of units on one span, by unit id, and that of all sources together.

    Attributes
    ----------
    total:
        The drop of the span's log-probability, in nats, when all sources are ablated.
    """

    def __init__(self, effects: Mapping[str, Effect] | None = None, *, total: float) -> None:
        super().__init__(effects or {})
        self.total = total


@dataclass(frozen=True, slots=True)
class Support:
    """One source unit selected for a span.

    ``mass``: share of the span's total signal mass that lies on the unit, in [0, 1].
    ``share``: the unit's share of the span's votes (p_s), ``run``: the share of its longest
    uninterrupted run (r_s), ``score``: the ranking value, ``rank``: 1 is the strongest.
    ``effect``: predicted or measured drop of the span's log-probability in nats, where known.
    ``kind``: whether the unit is necessary, sufficient or shared, where this was verified.
    Chosen by its effect, a unit has its share of all positive effects as ``share`` and ``score``,
    and a ``run`` of 0.
    """

    unit: SourceUnit
    mass: float
    share: float
    run: float
    score: float
    rank: int
    effect: float | None = None
    kind: EffectKind | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk of the response with the sources that support it.

    ``start``/``end`` are characters of the response, ``token_start``/``token_end`` generated
    tokens. ``grounding`` is the share of the span's signal mass on sources. ``ungrounded`` is true
    where no source supports the span; ``supports`` is then empty. ``effects`` holds a span
    signal's effect per unit id, where one was used; the supports are then chosen from it.
    ``section`` says whether the model thinks or answers; no span is of both.
    ``sources_effect`` is the drop of its log-probability, in nats, when all sources are ablated,
    and ``verdict`` what verification found; both are None where the supports are not verified.
    """

    index: int
    text: str
    start: int
    end: int
    token_start: int
    token_end: int
    grounding: float
    supports: tuple[Support, ...]
    ungrounded: bool
    effects: dict[str, Effect] | None = None
    section: Section = "answer"
    sources_effect: float | None = None
    verdict: Verdict | None = None

    @property
    def measured(self) -> Mapping[str, Effect] | None:
        """The effects, with that of all sources where it was measured."""
        if self.effects is None or self.sources_effect is None:
            return self.effects
        return SpanEffects(self.effects, total=self.sources_effect)

    def interval_of(self, unit: str) -> tuple[float, float] | None:
        """Return the interval of the effect of the unit with this id, where it has one."""
        effect = (self.effects or {}).get(unit)
        if effect is None or effect.low is None or effect.high is None:
            return None
        return effect.low, effect.high


@dataclass(frozen=True, slots=True)
class MediaRecord:
    """What a trace remembers of one medium.

    ``sha256`` is of the original bytes. ``size`` is ``(width, height)`` in displayed pixels,
    ``duration`` seconds, ``frame_times`` the seconds of the video frames fed to the model.
    ``previews`` are small JPEG files (one for an image, several for a video, at
    ``preview_times``), ``waveform`` up to 400 peak values in [0, 1]. ``read`` returns the original
    bytes, saved only on request; it is None where they are not at hand (a loaded trace without
    media, video frames given as an array).
    """

    message: int
    part: int
    modality: Modality
    name: str
    sha256: str
    size: tuple[int, int] | None = None
    duration: float | None = None
    frame_times: tuple[float, ...] = ()
    previews: tuple[bytes, ...] = ()
    preview_times: tuple[float, ...] = ()
    waveform: tuple[float, ...] = ()
    read: Callable[[], bytes] | None = dataclasses.field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """Give only the length of long fields: nobody reads bytes and hundreds of numbers."""
        short = ("message", "part", "modality", "name", "sha256", "size", "duration")
        long = ("frame_times", "previews", "preview_times", "waveform")
        facts = [f"{name}={getattr(self, name)!r}" for name in short]
        facts += [f"{name}=<{len(getattr(self, name))}>" for name in long if getattr(self, name)]
        return f"{type(self).__name__}({', '.join(facts)})"


# One content part or message in the format of transformers' chat templates.
ContentPart: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
