"""Read chat messages: check them, load their media, and decide which parts are sources.

Which parts are sources, if the user does not say:

- images, audio and video, wherever they stand;
- the texts of a ``tool`` message, and any text part with a ``source_id`` or ``units``;
- in the last user message, every text part but the last, which is the instruction;
- where that leaves no source in the last turn, and no text is marked as one: the documents in the
  last user message (see :mod:`omnitrace.segmentation.documents`);
- where there are none: system texts and earlier turns, unless ``SourceOptions`` says otherwise, and
  of a text of several sentences all but the questions that it begins or ends with.

A question alone is never its own source. ``Conversation.notes`` say what was guessed, and where
nothing can be a source.

A part may carry ``"source": true`` or ``false`` to settle it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from omnitrace.errors import InputError, did_you_mean
from omnitrace.media import (
    LoadedAudio,
    LoadedImage,
    LoadedVideo,
    MediaLimits,
    load_audio,
    load_image,
    load_video,
)
from omnitrace.sources.choice import settle_texts
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, Part, TextPart
from omnitrace.types import Message, Modality

__all__ = ["Asked", "Conversation", "read_messages"]

_ROLES = ("system", "developer", "user", "assistant", "tool")
_PART_TYPES = ("text", "image", "audio", "video")
_ALIASES: dict[str, Modality] = {
    "image_url": "image",
    "input_image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
}
# What says whether a part is a source, and how it is cut; a text that is all of its message's
# content has them beside it.
_MARKS: Final = ("source", "source_id", "units")
# The options that decide what is read, and not only how it is cut.
_READ_BY: Final = ("system", "history", "video_fps", "use_audio_in_video")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Checked messages: their parts in order, the messages' roles, and the options they met.

    ``notes`` say what a user should know of the choice of sources.
    """

    roles: tuple[str, ...]
    parts: tuple[Part, ...]
    options: SourceOptions = field(default_factory=SourceOptions, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def of(self, message: int) -> list[Part]:
        """Return the parts of one message."""
        return [part for part in self.parts if part.message == message]

    def media(self, modality: Modality | None = None) -> list[MediaPart]:
        """Return the media parts in order, of one modality or of all."""
        return [
            part
            for part in self.parts
            if isinstance(part, MediaPart) and modality in (None, part.modality)
        ]

    def check_options(self, options: SourceOptions) -> None:
        """Raise InputError if with these options something else would have been read."""
        for name in _READ_BY:
            given, wanted = getattr(self.options, name), getattr(options, name)
            if given != wanted:
                raise InputError(
                    f"the conversation was read with SourceOptions.{name}={given!r}",
                    legal=f"{name}={wanted!r}, as the tracer has it",
                    fix="read it with read() of this tracer, or pass the messages",
                )

    def records(self) -> tuple[Message, ...]:
        """Return JSON-ready messages in which each medium is an index into the trace's media."""
        index = {id(part): i for i, part in enumerate(self.media())}
        messages: list[Message] = []
        for number, role in enumerate(self.roles):
            content: list[dict[str, Any]] = []
            for part in self.of(number):
                entry: dict[str, Any]
                if isinstance(part, TextPart):
                    entry = {"type": "text", "text": part.text}
                else:
                    entry = {"type": part.modality, "media": index[id(part)]}
                if part.source_id is not None:
                    entry["source_id"] = part.source_id
                content.append(entry)
            messages.append({"role": role, "content": content})
        return tuple(messages)


Asked: TypeAlias = Sequence[Message] | Conversation
"""A request: chat messages, or what was read of them already."""


@dataclass(frozen=True, slots=True)
class _Where:
    """Where a part stands, and whether it counts as a source until the texts are settled."""

    message: int
    part: int
    role: str
    is_source: bool


def _where(message: int, part: int | None = None) -> str:
    return f"messages[{message}]" + ("" if part is None else f'["content"][{part}]')


def _part_type(raw: Mapping[str, Any], where: str) -> Modality:
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
            fix=did_you_mean(kind, _PART_TYPES),
        )
    return cast(Modality, kind)


def _media_value(raw: Mapping[str, Any], kind: str, where: str) -> Any:
    names = (kind, "path", "url", *(alias for alias, of in _ALIASES.items() if of == kind))
    for name in names:
        if raw.get(name) is not None:
            value = raw[name]
            return value["url"] if isinstance(value, Mapping) and "url" in value else value
    raise InputError(
        f"{where} is of type {kind!r} but names no file",
        legal=f"a path, bytes, data URL, PIL image or array under the key {kind!r}",
    )


def _load(
    kind: str, value: Any, options: SourceOptions, limits: MediaLimits, media_root: Path | None
) -> LoadedImage | LoadedAudio | LoadedVideo:
    if kind == "image":
        return load_image(value, limits=limits, media_root=media_root)
    if kind == "audio":
        return load_audio(value, limits=limits, media_root=media_root)
    return load_video(
        value,
        fps=options.video_fps,
        limits=limits,
        media_root=media_root,
        with_audio=options.use_audio_in_video is not False,
    )


def _content(raw: Any, number: int) -> list[Mapping[str, Any]]:
    if not isinstance(raw, Mapping):
        raise InputError(
            f"{_where(number)} is {type(raw).__name__}", legal='{"role": …, "content": …}'
        )
    role = raw.get("role")
    if role is None:
        raise InputError(
            f"{_where(number)} has no 'role'",
            legal=", ".join(_ROLES),
            fix='add e.g. "role": "user"',
        )
    if role not in _ROLES:
        raise InputError(f"{_where(number)} has the role {role!r}", legal=", ".join(_ROLES))
    content = raw.get("content")
    if isinstance(content, str):
        marks = {name: raw[name] for name in _MARKS if name in raw}
        return [{"type": "text", "text": content, **marks}]
    if not isinstance(content, Sequence) or not all(isinstance(p, Mapping) for p in content):
        raise InputError(
            f"{_where(number)} has content of type {type(content).__name__}",
            legal="a string, or a list of parts such as {'type': 'text', 'text': '…'}",
        )
    return list(content)


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


def read_messages(
    messages: Sequence[Message],
    *,
    options: SourceOptions,
    limits: MediaLimits,
    media_root: Path | None = None,
) -> Conversation:
    """Check ``messages`` and load their media.

    Raises
    ------
    InputError
        If a message or part is malformed; the text names the message, the part and the fix.
    MediaError
        If a medium cannot be loaded.
    """
    if isinstance(messages, str) or not isinstance(messages, Sequence) or not messages:
        raise InputError(
            f"messages is {'empty' if not messages else type(messages).__name__}",
            legal='a non-empty list such as [{"role": "user", "content": "…"}]',
        )
    parts: list[Part] = []
    roles: list[str] = []
    undecided: set[int] = set()
    for number, message in enumerate(messages):
        content = _content(message, number)
        roles.append(str(message["role"]))
        for position, raw in enumerate(content):
            explicit = _explicit_source(raw, _where(number, position))
            if explicit is None and raw.get("type") == "text":
                undecided.add(len(parts))
            where = _Where(number, position, roles[-1], explicit is not False)
            parts.append(_read_part(raw, where, options, limits, media_root))
    users = [number for number, role in enumerate(roles) if role == "user"]
    if not users:
        raise InputError("the request has no user message", legal="at least one role 'user'")
    settled, notes = settle_texts(parts, undecided, users[-1], options)
    return Conversation(tuple(roles), tuple(settled), options, notes)


def _explicit_source(raw: Mapping[str, Any], where: str) -> bool | None:
    """Return whether the user calls the part a source; None if nothing says so."""
    said = raw.get("source")
    if said is not None:
        if not isinstance(said, bool):
            raise InputError(f"{where} has the 'source' {said!r}", legal="true or false")
        return said
    return True if raw.get("source_id") is not None or raw.get("units") is not None else None


def _read_part(
    raw: Mapping[str, Any],
    where: _Where,
    options: SourceOptions,
    limits: MediaLimits,
    media_root: Path | None,
) -> Part:
    name = _where(where.message, where.part)
    kind = _part_type(raw, name)
    source_id = None if raw.get("source_id") is None else str(raw["source_id"])
    units = _units(raw, name)
    if kind == "text":
        text = raw.get("text")
        if not isinstance(text, str):
            raise InputError(
                f"{name} is of type 'text' but 'text' is {type(text).__name__}", legal="a string"
            )
        return TextPart(
            where.message, where.part, where.role, text, where.is_source, source_id, units
        )
    if where.role in ("system", "developer", "assistant"):
        raise InputError(
            f"{name} puts {kind} into a message of role {where.role!r}",
            legal="media in messages of role 'user' or 'tool'",
        )
    media = _load(kind, _media_value(raw, kind, name), options, limits, media_root)
    return MediaPart(
        where.message, where.part, where.role, kind, media, where.is_source, source_id, units
    )
