"""The document that describes a trace in a file: version 4.

``trace.json`` is this document; the score matrix and the layout arrays lie beside it as tensors.
The models are strict and forbid unknown members, so that a file which loads means what it says.
``codec`` turns a trace into the document and back, ``io`` keeps it in files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from omnitrace._utils.documents import MAX_COORDINATE, MAX_COUNT, Count
from omnitrace.attribution.selection import SelectionConfig
from omnitrace.errors import OmnitraceError
from omnitrace.types import EffectKind, Modality, Section, Verdict

__all__ = [
    "FORMAT",
    "VERSION",
    "Arrays",
    "ImageRegionModel",
    "MediaModel",
    "TextRangeModel",
    "TimeRangeModel",
    "TraceModel",
    "parse",
]

FORMAT: Final = "omnitrace-trace"
VERSION: Final = 4

# What a renderer draws, and what arrays of 64 bits hold. Shares may miss their bounds by rounding.
Index: TypeAlias = Annotated[int, Field(ge=-1, le=MAX_COUNT)]
Share: TypeAlias = Annotated[float, Field(ge=-1e-3, le=1.001)]
Time: TypeAlias = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
Seconds: TypeAlias = Annotated[float, Field(ge=-1e-3, le=MAX_COORDINATE)]
Pixel: TypeAlias = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
MAX_CELLS: Final = 1_000_000
MAX_PIXELS: Final = 10**10
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_MODALITIES: Final[dict[str, tuple[str, ...]]] = {
    "text_range": ("text",),
    "image_region": ("image",),
    "time_range": ("audio", "video"),
}


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TextRangeModel(_Model):
    """A :class:`~omnitrace.types.TextRange`."""

    type: Literal["text_range"]
    message: Count
    part: Count
    start: Count
    end: Count


class ImageRegionModel(_Model):
    """An :class:`~omnitrace.types.ImageRegion`."""

    type: Literal["image_region"]
    message: Count
    part: Count
    box: tuple[Pixel, Pixel, Pixel, Pixel]
    grid: tuple[Count, Count]
    cells: tuple[Count, ...]
    canvas: tuple[float, float, float, float] | None = None

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        count = self.grid[0] * self.grid[1]
        if not 1 <= count <= MAX_CELLS:
            raise ValueError(f"a grid of {self.grid[0]} by {self.grid[1]} cells cannot be drawn")
        if self.cells and max(self.cells) >= count:
            raise ValueError(f"cell {max(self.cells)} is beyond a grid of {count} cells")
        if self.box[0] > self.box[2] or self.box[1] > self.box[3]:
            raise ValueError(f"the box {list(self.box)} ends before it begins")
        return self


class TimeRangeModel(_Model):
    """A :class:`~omnitrace.types.TimeRange`."""

    type: Literal["time_range"]
    message: Count
    part: Count
    start: Seconds
    end: Seconds
    frames: tuple[Count, ...]

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"{self.start} to {self.end} s end before they begin")
        return self


LocatorModel: TypeAlias = Annotated[
    TextRangeModel | ImageRegionModel | TimeRangeModel, Field(discriminator="type")
]


class UnitModel(_Model):
    """A :class:`~omnitrace.types.SourceUnit`."""

    id: str
    modality: Modality
    locator: LocatorModel
    positions: tuple[Count, ...]
    preview: str
    source_id: str | None
    transcript: str | None = None
    speaker: str | None = None


class TokenModel(_Model):
    """A :class:`~omnitrace.types.TokenTrace`; ``unit`` is a unit id."""

    index: Count
    id: Index
    text: str
    start: Count
    end: Count
    unit: str | None
    confidence: Annotated[float, Field(ge=0)]
    grounding: Share
    instruction_mass: Share
    template_mass: Share
    generated_mass: Share


class SupportModel(_Model):
    """A :class:`~omnitrace.types.Support`; ``unit`` is a unit id."""

    unit: str
    mass: float
    share: Share
    run: Share
    score: Share
    rank: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    effect: float | None
    kind: EffectKind | None


class EffectModel(_Model):
    """An :class:`~omnitrace.types.Effect`."""

    value: float
    low: float | None
    high: float | None
    kind: EffectKind | None


class SpanModel(_Model):
    """A :class:`~omnitrace.types.Span`; ``effects`` is by unit id."""

    index: Index
    text: str
    start: Count
    end: Count
    token_start: Count
    token_end: Count
    grounding: Share
    supports: Annotated[tuple[SupportModel, ...], FailFast()]
    ungrounded: bool
    effects: dict[str, EffectModel] | None
    section: Section
    sources_effect: float | None
    verdict: Verdict | None


class StoredModel(_Model):
    """The copy of a medium beside the document; its digest need not be the medium's own.

    A medium that was given as an array has no original bytes: its copy is a file made of it.
    """

    bytes: Count
    sha256: Sha256


class MediaModel(_Model):
    """A :class:`~omnitrace.types.MediaRecord`; previews are JPEG files in base64."""

    message: Count
    part: Count
    modality: Modality
    name: str
    sha256: Sha256
    size: tuple[Count, Count] | None
    duration: Seconds | None
    frame_times: Annotated[tuple[Time, ...], FailFast()]
    previews: Annotated[tuple[str, ...], Field(max_length=1000)]
    preview_times: Annotated[tuple[Time, ...], Field(max_length=1000)]
    waveform: Annotated[tuple[Share, ...], Field(max_length=10_000), FailFast()]
    stored: StoredModel | None

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        if self.size is not None and self.size[0] * self.size[1] > MAX_PIXELS:
            raise ValueError(f"{self.size[0]} by {self.size[1]} pixels cannot be drawn")
        return self


class ProvenanceModel(_Model):
    """A :class:`~omnitrace.trace.trace.Provenance`."""

    model: str
    adapter: str
    revision: str | None
    config_digest: str
    processor: str
    attention: str
    dtype: str
    signal: dict[str, JsonValue]
    generation: dict[str, JsonValue]
    seed: int | None
    salience: str
    segmentation: dict[str, JsonValue]
    versions: dict[str, str]
    timings: dict[str, float]
    created: str
    finished: bool


class ChecksumsModel(_Model):
    """SHA-256 of the document (canonical, without itself) and of the tensor file."""

    document: Sha256
    tensors: Sha256


class TraceModel(_Model):
    """The whole document. Only a document in a file has ``checksums``."""

    format: Literal["omnitrace-trace"]
    version: Literal[4]
    messages: Annotated[tuple[dict[str, JsonValue], ...], FailFast()]
    text: str
    token_ids: Annotated[tuple[Index, ...], FailFast()]
    prompt_ids: Annotated[tuple[Index, ...], FailFast()]
    units: Annotated[tuple[UnitModel, ...], FailFast()]
    tokens: Annotated[tuple[TokenModel, ...], FailFast()]
    spans: Annotated[tuple[SpanModel, ...], FailFast()]
    media: Annotated[tuple[MediaModel, ...], FailFast()]
    config: SelectionConfig
    provenance: ProvenanceModel
    checksums: ChecksumsModel | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        parts = [_parts_of(message) for message in self.messages]
        for i, record in enumerate(self.media):
            part = _part_at(parts, record.message, record.part, f"media {i}")
            if part.get("media") != i:
                raise ValueError(f"media {i} is not what its message part refers to")
        for message in parts:
            for part in message:
                if "media" in part and part["media"] not in range(len(self.media)):
                    raise ValueError(f"a message part refers to media {part['media']!r}")
        ids = {unit.id for unit in self.units}
        if len(ids) != len(self.units):
            raise ValueError("two units have the same id")
        for unit in self.units:
            self._check_unit(unit, parts)
        self._check_response(ids)
        return self

    def _check_unit(self, unit: UnitModel, parts: list[list[dict[str, Any]]]) -> None:
        locator = unit.locator
        part = _part_at(parts, locator.message, locator.part, f"unit {unit.id!r}")
        if part["type"] not in _MODALITIES[locator.type]:
            raise ValueError(f"unit {unit.id!r} is a {locator.type} in a part of {part['type']}")
        if isinstance(locator, TextRangeModel):
            _check_range(locator.start, locator.end, len(part["text"]), f"unit {unit.id!r}")
        if any(b <= a for a, b in zip(unit.positions, unit.positions[1:], strict=False)):
            raise ValueError(f"the positions of unit {unit.id!r} do not ascend")

    def _check_response(self, ids: set[str]) -> None:
        if len(self.tokens) != len(self.token_ids):
            raise ValueError(f"{len(self.tokens)} tokens but {len(self.token_ids)} token ids")
        for index, token in enumerate(self.tokens):
            if token.index != index:
                raise ValueError(f"token {index} says that it is token {token.index}")
            _check_range(token.start, token.end, len(self.text), f"token {token.index}")
            if token.unit is not None and token.unit not in ids:
                raise ValueError(f"token {token.index} names an unknown unit {token.unit!r}")
        for span in self.spans:
            name = f"span {span.index}"
            _check_range(span.start, span.end, len(self.text), name)
            _check_range(span.token_start, span.token_end, len(self.tokens), f"{name} (tokens)")
            if span.text != self.text[span.start : span.end]:
                raise ValueError(f"the text of {name} is not that of its range")
            named = [support.unit for support in span.supports] + list(span.effects or {})
            if unknown := [unit for unit in named if unit not in ids]:
                raise ValueError(f"{name} names an unknown unit {unknown[0]!r}")


def _parts_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if not isinstance(message.get("role"), str):
        raise ValueError("a message has no role")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise ValueError("the content of a message is neither text nor a list of parts")
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise ValueError("a message part has no type")
        kind = "text" if part["type"] == "text" else "media"
        if type(part.get(kind)) is not (str if kind == "text" else int):
            raise ValueError(f"a message part of type {part['type']!r} has no {kind}")
    return content


def _part_at(
    parts: list[list[dict[str, Any]]], message: int, part: int, name: str
) -> dict[str, Any]:
    if message >= len(parts) or part >= len(parts[message]):
        raise ValueError(f"{name} lies in message {message}, part {part}, which does not exist")
    return parts[message][part]


def _check_range(start: int, end: int, length: int, name: str) -> None:
    if not start <= end <= length:
        raise ValueError(f"{name} has the range {start} to {end} of {length}")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """The numeric part of a trace, as stored in ``scores.safetensors``."""

    scores: np.ndarray
    kinds: np.ndarray
    unit_index: np.ndarray
    salience: np.ndarray

    def check(self, model: TraceModel) -> None:
        """Raise ``ValueError`` where the arrays do not fit the document."""
        tokens, prompt = len(model.token_ids), len(model.prompt_ids)
        for name, array, shape, dtype in (
            ("scores", self.scores, (tokens, prompt + tokens), np.float32),
            ("kinds", self.kinds, (prompt,), np.uint8),
            ("unit_index", self.unit_index, (prompt,), np.int32),
            ("salience", self.salience, (tokens,), np.float64),
        ):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} has shape {list(array.shape)} of {array.dtype}, but the document "
                    f"describes {list(shape)} of {np.dtype(dtype)}"
                )
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} holds a value that is not finite")
        if self.kinds.size and self.kinds.max() > 3:
            raise ValueError("kinds holds a value that is no position kind")
        expected = np.full(prompt, -1, dtype=np.int32)
        for index, unit in enumerate(model.units):
            if unit.positions and unit.positions[-1] >= prompt:
                raise ValueError(f"unit {unit.id!r} has a position beyond the prompt")
            expected[list(unit.positions)] = index
        if not np.array_equal(expected, self.unit_index):
            raise ValueError("unit_index and the positions of the units differ")


def parse(text: str | bytes) -> TraceModel:
    """Validate a document of this version; ``ValueError`` says what is wrong with it, and where."""
    try:
        return TraceModel.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {reason}" if where else reason) from None
    except OmnitraceError as error:
        raise ValueError(f"config: {error}") from None
