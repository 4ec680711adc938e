"""Read one part of a message: its text, or its medium as the part asks for it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from omnitrace._utils.checks import check_text
from omnitrace.errors import InputError, SourceWarning, did_you_mean
from omnitrace.media import (
    LoadedAudio,
    LoadedImage,
    LoadedVideo,
    MediaLimits,
    load_audio,
    load_image,
    load_video,
)
from omnitrace.sources.asked import ASKED, asked_of, clip_of
from omnitrace.sources.formats import LABELS, MARKS, check_keys, checked_name
from omnitrace.sources.media_values import (
    VALUE_KEYS,
    found_value,
    frames_of,
    media_value,
    with_rate,
)
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, Part, TextPart
from omnitrace.speech import Utterance, mended, read_transcript
from omnitrace.types import Modality

__all__ = ["Place", "Reading", "explicit_source", "kind_of", "read_part"]

_PART_TYPES: Final = ("text", "image", "audio", "video")
_ALIASES: Final[dict[str, Modality]] = {
    "input_text": "text",
    "output_text": "text",
    "refusal": "text",
    **{alias: kind for kind, aliases in VALUE_KEYS.items() for alias in aliases},
}
# What a part may carry along without a meaning for the model.
_CARRIED: Final = ("id", "cache_control", "annotations", "citations", "logprobs")
_RATES: Final = ("sampling_rate", "sample_rate")


@dataclass(frozen=True, slots=True)
class Reading:
    """How media are read."""

    options: SourceOptions
    limits: MediaLimits
    media_root: Path | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands, in the trace and as the user wrote it, and whether it is a source."""

    message: int
    part: int
    role: str
    where: str
    is_source: bool


def kind_of(raw: Mapping[str, Any], where: str) -> Modality:
    """Return the modality of a part.

    Raises
    ------
    InputError
        If it has no type, or one that is not known.
    """
    given = raw.get("type")
    if given is None:
        raise InputError(
            f"{where} has no 'type'",
            legal=", ".join(_PART_TYPES),
            fix='write e.g. {"type": "text", "text": "…"}',
        )
    kind = _ALIASES.get(str(given), str(given))
    if kind not in _PART_TYPES:
        raise InputError(
            f"{where} has the unknown part type {kind!r}",
            legal=", ".join(_PART_TYPES),
            fix=did_you_mean(kind, [*_PART_TYPES, *_ALIASES]),
        )
    return cast(Modality, kind)


def explicit_source(raw: Mapping[str, Any], where: str) -> bool | None:
    """Return whether the user calls the part a source; None if nothing says so.

    Raises
    ------
    InputError
        If ``source`` is neither true nor false, nor the object that holds a medium.
    """
    said = raw.get("source")
    if said is not None and not isinstance(said, Mapping):
        if not isinstance(said, bool):
            raise InputError(f"{where} has the 'source' {said!r}", legal="true or false")
        return said
    return True if raw.get("source_id") is not None or raw.get("units") is not None else None


def read_part(raw: Mapping[str, Any], place: Place, reading: Reading) -> Part:
    """Read a part, and load its medium.

    Raises
    ------
    InputError
        If it is malformed, has unknown keys, or asks for what cannot be given.
    MediaError
        If the medium cannot be loaded.
    """
    where = place.where
    kind = kind_of(raw, where)
    source_id = checked_name(raw.get("source_id"), f"{where} has the 'source_id'")
    units = _units(raw, where)
    title, metadata = _title(raw, where), _metadata(raw, where)
    if kind == "text":
        name = "refusal" if raw["type"] == "refusal" else "text"
        text = raw.get(name)
        if not isinstance(text, str):
            raise InputError(
                f"{where} is of type 'text' but {name!r} is {type(text).__name__}",
                legal="a string",
            )
        check_keys(raw, ("type", name, *MARKS, *LABELS, *_CARRIED), where)
        check_text(text, where)
        return TextPart(
            *(place.message, place.part, place.role, text, place.is_source, source_id, units),
            title=title,
            metadata=metadata,
        )
    if place.role in ("system", "developer", "assistant"):
        raise InputError(
            f"{where} puts {kind} into a message of role {place.role!r}",
            legal="media in messages of role 'user' or 'tool'",
        )
    media, asked = _media(raw, kind, where, reading)
    return MediaPart(
        *(place.message, place.part, place.role, kind, media, place.is_source, source_id, units),
        asked=asked,
        transcript=_transcript(raw, media, where, reading),
        title=title,
        metadata=metadata,
    )


def _title(raw: Mapping[str, Any], where: str) -> str | None:
    title = raw.get("title")
    if title is not None and not isinstance(title, str):
        raise InputError(
            f"{where} has a 'title' of type {type(title).__name__}",
            legal="a string",
            fix="put it under 'metadata'",
        )
    if title is not None:
        check_text(title, f"{where}: 'title'")
    return title


def _metadata(raw: Mapping[str, Any], where: str) -> Any:
    """Return a copy of the metadata, which a trace file must be able to hold."""
    try:
        text = json.dumps(raw.get("metadata"), ensure_ascii=False, allow_nan=False)
        copy = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{where} has 'metadata' that is not JSON: {error}",
            legal="objects, lists, strings, finite numbers, true, false, null",
            fix="write other values, such as dates, as strings",
        ) from error
    check_text(text, f"{where}: 'metadata'")
    return copy


def _units(raw: Mapping[str, Any], where: str) -> tuple[Any, ...] | None:
    units = raw.get("units")
    if units is None:
        return None
    if isinstance(units, str) or not isinstance(units, Sequence):
        raise InputError(
            f"{where} has 'units' of type {type(units).__name__}",
            legal="a list of ranges, boxes or seconds",
        )
    if not units:
        raise InputError(
            f"{where}: 'units' is empty",
            legal="at least one range, box or interval",
            fix="leave 'units' out to have the part cut by the options",
        )
    return tuple(units)


def _media(
    raw: Mapping[str, Any], kind: Modality, where: str, reading: Reading
) -> tuple[LoadedImage | LoadedAudio | LoadedVideo, dict[str, float]]:
    """Return the medium, and what the part asks of its time and pixels."""
    found = found_value(raw, kind)
    if found is None:
        raise InputError(
            f"{where} is of type {kind!r} but names no file",
            legal=f"a path, bytes, data URL, PIL image or array under the key {kind!r}",
        )
    _check_media_keys(raw, kind, found[0], where)
    limits, root = reading.limits, reading.media_root
    value = media_value(*found, kind, where, limits, root)
    asked = asked_of(raw, kind, where, has_rate=frames_of(value) is not None, limits=limits)
    if kind == "image":
        return load_image(value, limits=limits, media_root=root), asked
    clip = clip_of(asked)
    if kind == "audio":
        rate = next((raw[name] for name in _RATES if raw.get(name) is not None), None)
        given = value if rate is None else with_rate(value, rate, where)
        return load_audio(given, limits=limits, media_root=root, clip=clip), asked
    fps = asked.get("fps")
    if fps is not None and frames_of(value) is not None:
        value = value, fps  # the rate at which the frames were taken
    video = load_video(
        value,
        fps=reading.options.video_fps if fps is None else fps,
        limits=limits,
        media_root=root,
        with_audio=reading.options.use_audio_in_video is not False,
        clip=clip,
    )
    return video, asked


def _transcript(
    raw: Mapping[str, Any],
    media: LoadedImage | LoadedAudio | LoadedVideo,
    where: str,
    reading: Reading,
) -> tuple[Utterance, ...] | None:
    given = raw.get("transcript")
    if given is None or isinstance(media, LoadedImage):
        return None
    whole = media.duration
    if isinstance(media, LoadedAudio) and media.whole is not None:
        whole = media.whole
    utterances, mends = mended(read_transcript(given, where, reading.media_root), whole)
    if not utterances:
        raise InputError(
            f"{where}: nothing of the transcript can be used: {', '.join(mends)}",
            legal=f"words with seconds from 0 to {whole:g}, the length of the recording",
        )
    if mends:
        warnings.warn(
            f"{where}: the transcript was mended: {', '.join(mends)}", SourceWarning, stacklevel=2
        )
    return tuple(
        replace(each, start=max(each.start, media.start), end=min(each.end, media.end))
        for each in utterances
        if each.start < media.end and each.end > media.start  # of the part that is read
    )


def _check_media_keys(raw: Mapping[str, Any], kind: Modality, name: str, where: str) -> None:
    """Refuse what is unknown."""
    if raw.get("detail") == "low":
        raise InputError(
            f"{where} asks for the detail 'low'",
            legal="'auto' or 'high': the model is given the image as its processor makes it",
            fix="say how large it is to be: 'max_pixels', or 'resized_height' and 'resized_width'",
        )
    own: tuple[str, ...] = {
        "image": ("detail",),
        "audio": (*_RATES, "transcript"),
        "video": ("transcript",),
        "text": (),
    }[kind]
    check_keys(
        raw,
        (
            *("type", name, kind, *own, *ASKED[kind], *MARKS, *LABELS, *_CARRIED),
            *("path", "format", "media_type", "filename"),
        ),
        where,
    )
