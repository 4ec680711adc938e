"""From a trace to the document and arrays of its file, and back; and to a copy without content."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import BaseModel

from omnitrace.errors import TraceFileError
from omnitrace.trace.provenance import Provenance
from omnitrace.trace.record import TraceRecord
from omnitrace.trace.schema import (
    FORMAT,
    VERSION,
    Arrays,
    ImageRegionModel,
    MediaModel,
    TextRangeModel,
    TimeRangeModel,
    TraceModel,
    parse,
)
from omnitrace.types import (
    Effect,
    ImageRegion,
    Layout,
    Locator,
    MediaRecord,
    Message,
    SourceUnit,
    Span,
    Support,
    TextRange,
    TimeRange,
    TokenTrace,
)

__all__ = ["from_model", "redacted", "to_model"]

T = TypeVar("T", bound=TraceRecord)

# What a media part of a message may say besides its type and index: never a path, URL or bytes.
_MEDIA_PART_NAMES: Final = ("id", "source_id", "title", "metadata")


def to_model(trace: TraceRecord, *, media: bool = False) -> tuple[TraceModel, Arrays]:
    """Describe a trace; refuse what :func:`from_model` could not read again.

    Raises
    ------
    TraceFileError
        If the trace contradicts itself or holds a value that is not finite.
    """
    raw = {
        "format": FORMAT,
        "version": VERSION,
        "messages": [_plain_message(message) for message in trace.messages],
        "text": trace.text,
        "token_ids": trace.token_ids,
        "prompt_ids": trace.prompt_ids,
        "units": [_plain_unit(unit) for unit in trace.layout.units],
        "tokens": [_fields(token) for token in trace.tokens],
        "spans": [
            _fields(span)
            | {
                "supports": [_fields(each) | {"unit": each.unit.id} for each in span.supports],
                "effects": None
                if span.effects is None
                else {name: _fields(each) for name, each in span.effects.items()},
            }
            for span in trace.spans
        ],
        "media": [_plain_media(record, media) for record in trace.media],
        "config": dataclasses.asdict(trace.config),
        "provenance": _fields(trace.provenance),
    }
    try:
        plain = _plain(raw)
        model = parse(json.dumps(plain))
        json.dumps(plain, allow_nan=False)  # the schema looks at its own numbers, not at the user's
        arrays = Arrays(
            scores=np.ascontiguousarray(trace.scores, dtype=np.float32),
            kinds=np.ascontiguousarray(trace.layout.kinds, dtype=np.uint8),
            unit_index=np.ascontiguousarray(trace.layout.unit_index, dtype=np.int32),
            salience=np.ascontiguousarray(trace.salience, dtype=np.float64),
        )
        arrays.check(model)
    except (TypeError, ValueError, RecursionError) as error:
        raise TraceFileError(
            f"this trace cannot be written: {error}",
            legal="finite numbers, JSON values, and ranges that fit the messages and the response",
        ) from error
    return model, arrays


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return value


def _plain_message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return dict(message)
    return {**message, "content": [_plain_part(part) for part in content]}


def _plain_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if "media" not in part:
        return dict(part)
    keep = ("type", "media", *_MEDIA_PART_NAMES)
    return {k: v for k, v in part.items() if k in keep or isinstance(v, bool | int | float)}


def _plain_unit(unit: SourceUnit) -> dict[str, Any]:
    kinds = {TextRange: "text_range", ImageRegion: "image_region", TimeRange: "time_range"}
    locator = {"type": kinds[type(unit.locator)], **_fields(unit.locator)}
    return _fields(unit) | {"locator": locator}


def _plain_media(record: MediaRecord, media: bool) -> dict[str, Any]:
    plain = _fields(record)
    del plain["read"]
    plain["name"] = PureWindowsPath(PurePosixPath(record.name).name).name
    plain["previews"] = [base64.b64encode(each).decode("ascii") for each in record.previews]
    plain["stored"] = None
    if media and record.read is not None:
        data = record.read()
        plain["stored"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return plain


def from_model(model: TraceModel, arrays: Arrays, media: Mapping[int, bytes], kind: type[T]) -> T:
    """Build the trace that a document, its arrays and its stored media describe."""
    units = tuple(
        SourceUnit(**_fields_of(unit) | {"locator": _locator(unit.locator)}) for unit in model.units
    )
    by_id = {unit.id: unit for unit in units}
    return kind(
        messages=model.messages,
        text=model.text,
        token_ids=model.token_ids,
        prompt_ids=model.prompt_ids,
        layout=Layout(kinds=arrays.kinds, unit_index=arrays.unit_index, units=units),
        scores=arrays.scores,
        tokens=tuple(TokenTrace(**_fields_of(token)) for token in model.tokens),
        spans=tuple(
            Span(
                **_fields_of(span)
                | {
                    "supports": tuple(
                        Support(**_fields_of(each) | {"unit": by_id[each.unit]})
                        for each in span.supports
                    ),
                    "effects": None
                    if span.effects is None
                    else {name: Effect(**_fields_of(each)) for name, each in span.effects.items()},
                }
            )
            for span in model.spans
        ),
        salience=arrays.salience,
        media=tuple(_record(each, media.get(i)) for i, each in enumerate(model.media)),
        config=model.config,
        provenance=Provenance(**_fields_of(model.provenance)),
    )


def _fields_of(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def _locator(model: TextRangeModel | ImageRegionModel | TimeRangeModel) -> Locator:
    fields = _fields_of(model)
    kinds: dict[str, type[Locator]] = {
        "text_range": TextRange,
        "image_region": ImageRegion,
        "time_range": TimeRange,
    }
    return kinds[fields.pop("type")](**fields)


def _record(model: MediaModel, data: bytes | None) -> MediaRecord:
    fields = _fields_of(model)
    del fields["stored"]
    fields["previews"] = tuple(base64.b64decode(each, validate=True) for each in model.previews)
    return MediaRecord(**fields, read=None if data is None else lambda: data)


def redacted(trace: T) -> T:
    """Return a copy without texts, names, previews and media; see :meth:`Trace.redact`."""
    units = {
        unit.id: dataclasses.replace(
            unit,
            id=_neutral_id(unit, i),
            preview="",
            source_id=None,
            transcript=None,
            speaker=None,
        )
        for i, unit in enumerate(trace.units)
    }
    return dataclasses.replace(
        trace,
        messages=tuple(_redacted_message(message) for message in trace.messages),
        text=_mask(trace.text),
        token_ids=(-1,) * len(trace.token_ids),
        prompt_ids=(-1,) * len(trace.prompt_ids),
        layout=dataclasses.replace(trace.layout, units=tuple(units.values())),
        tokens=tuple(
            dataclasses.replace(
                token,
                id=-1,
                text=_mask(token.text),
                unit=None if token.unit is None else units[token.unit].id,
            )
            for token in trace.tokens
        ),
        spans=tuple(_redacted_span(span, units) for span in trace.spans),
        media=tuple(
            dataclasses.replace(
                record, name="", previews=(), preview_times=(), waveform=(), read=None
            )
            for record in trace.media
        ),
        provenance=_redacted_provenance(trace.provenance),
    )


def _neutral_id(unit: SourceUnit, index: int) -> str:
    # An id that the user chose, or that holds the name of a document, may say anything.
    return unit.id if re.fullmatch(rf"{unit.modality}-\d+", unit.id) else f"unit-{index}"


def _mask(text: str) -> str:
    return "█" * len(text)


def _redacted_message(message: Message) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return {"role": message["role"], "content": _mask(content)}
    parts: list[dict[str, Any]] = []
    for part in content:
        if "media" in part:
            parts.append({"type": part["type"], "media": part["media"]})
        else:
            parts.append({"type": part["type"], "text": _mask(part["text"])})
    return {"role": message["role"], "content": parts}


def _redacted_span(span: Span, units: Mapping[str, SourceUnit]) -> Span:
    effects = span.effects
    return dataclasses.replace(
        span,
        text=_mask(span.text),
        supports=tuple(
            dataclasses.replace(support, unit=units[support.unit.id]) for support in span.supports
        ),
        effects=None if effects is None else {units[k].id: v for k, v in effects.items()},
    )


def _redacted_provenance(provenance: Provenance) -> Provenance:
    # A stop string or a bad-words list spells text, and a model folder may spell a user's name; so
    # may the folder of a model that a unitizer uses.
    return dataclasses.replace(
        provenance,
        model=_base_of_path(provenance.model),
        processor=_base_of_path(provenance.processor),
        generation=_without_strings(provenance.generation),
        segmentation=_without_paths(provenance.segmentation),
    )


def _base_of_path(name: str) -> str:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or name.startswith((".", "~")):
        return posix.name
    return windows.name if windows.is_absolute() else name


def _without_paths(value: Any) -> Any:
    if isinstance(value, str):
        return _base_of_path(value)
    if isinstance(value, Mapping):
        return {key: _without_paths(each) for key, each in value.items()}
    return value


def _without_strings(value: Any) -> Any:
    if isinstance(value, str):
        return _mask(value)
    if isinstance(value, Mapping):
        return {key: _without_strings(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_strings(each) for each in value]
    return value
