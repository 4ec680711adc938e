"""Read one part of a message: its text, or its medium as the part asks for it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

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
from omnitrace.sources.formats import LABELS, MARKS, check_keys
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

__all__ = ["Place", "Reading", "check_text", "explicit_source", "kind_of", "read_part"]

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
_AT_THE_PROCESSOR: Final = (
    "set it where the processor is loaded, e.g. AutoProcessor.from_pretrained(name, {name}=…), or "
    "resize the image"
)
_BY_FPS: Final = "say how many frames a second: 'fps'"
_BY_CUTTING: Final = "cut the video first, e.g. ffmpeg -ss START -to END -i IN OUT"
# What parts of Qwen's and OpenAI's formats ask for and a part cannot say here, and how to say it.
_ELSEWHERE: Final[dict[Modality, dict[str, str]]] = {
    "text": {},
    "image": dict.fromkeys(
        ("min_pixels", "max_pixels", "resized_height", "resized_width"), _AT_THE_PROCESSOR
    ),
    "audio": dict.fromkeys(("audio_start", "audio_end"), "cut the audio first"),
    "video": {
        **dict.fromkeys(
            ("min_pixels", "max_pixels", "total_pixels", "resized_height", "resized_width"),
            _AT_THE_PROCESSOR,
        ),
        **dict.fromkeys(("nframes", "num_frames", "min_frames", "max_frames", "max_fps"), _BY_FPS),
        **dict.fromkeys(("video_start", "video_end"), _BY_CUTTING),
    },
}


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
    source_id = None if raw.get("source_id") is None else str(raw["source_id"])
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
    media = _media(raw, kind, where, reading)
    return MediaPart(
        *(place.message, place.part, place.role, kind, media, place.is_source, source_id, units),
        transcript=_transcript(raw, media, where, reading),
        title=title,
        metadata=metadata,
    )


def check_text(text: str, where: str) -> None:
    """Refuse half of a surrogate pair, which no tokenizer takes.

    Raises
    ------
    InputError
        That names the character.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} holds half of a surrogate pair, {error.object[error.start]!r}, at "
            f"character {error.start}",
            legal="text that can be written as UTF-8",
            fix="write the whole character, or use text.encode('utf-8', 'ignore').decode()",
        ) from error


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
) -> LoadedImage | LoadedAudio | LoadedVideo:
    found = found_value(raw, kind)
    if found is None:
        raise InputError(
            f"{where} is of type {kind!r} but names no file",
            legal=f"a path, bytes, data URL, PIL image or array under the key {kind!r}",
        )
    _check_media_keys(raw, kind, found[0], where)
    limits, root = reading.limits, reading.media_root
    value = media_value(*found, kind, where, limits, root)
    if kind == "image":
        return load_image(value, limits=limits, media_root=root)
    if kind == "audio":
        rate = next((raw[name] for name in _RATES if raw.get(name) is not None), None)
        given = value if rate is None else with_rate(value, rate, where)
        return load_audio(given, limits=limits, media_root=root)
    fps = raw.get("fps")
    if fps is not None and frames_of(value) is not None:
        value = value, fps  # the rate at which the frames were taken
    return load_video(
        value,
        fps=reading.options.video_fps if fps is None else fps,
        limits=limits,
        media_root=root,
        with_audio=reading.options.use_audio_in_video is not False,
    )


def _transcript(
    raw: Mapping[str, Any],
    media: LoadedImage | LoadedAudio | LoadedVideo,
    where: str,
    reading: Reading,
) -> tuple[Utterance, ...] | None:
    given = raw.get("transcript")
    if given is None or isinstance(media, LoadedImage):
        return None
    utterances, mends = mended(read_transcript(given, where, reading.media_root), media.duration)
    if not utterances:
        raise InputError(
            f"{where}: nothing of the transcript can be used: {', '.join(mends)}",
            legal=f"words with seconds from 0 to {media.duration:g}, the length of the recording",
        )
    if mends:
        warnings.warn(
            f"{where}: the transcript was mended: {', '.join(mends)}", SourceWarning, stacklevel=2
        )
    return tuple(utterances)


def _check_media_keys(raw: Mapping[str, Any], kind: Modality, name: str, where: str) -> None:
    """Refuse what is unknown, and what must be asked for elsewhere."""
    for key, fix in _ELSEWHERE[kind].items():
        if raw.get(key) is not None:
            raise InputError(
                f"{where} asks for {key!r}, which a part of a message cannot say here",
                fix=fix.format(name=key),
            )
    if raw.get("detail") == "low":
        raise InputError(
            f"{where} asks for the detail 'low'",
            legal="'auto' or 'high': the model is given the image as its processor makes it",
            fix="resize the image",
        )
    own: tuple[str, ...] = {
        "image": ("detail",),
        "audio": (*_RATES, "transcript"),
        "video": ("fps", "transcript"),
        "text": (),
    }[kind]
    check_keys(
        raw,
        (
            "type",
            name,
            kind,
            *own,
            *MARKS,
            *LABELS,
            *_CARRIED,
            "path",
            "format",
            "media_type",
            "filename",
        ),
        where,
    )
