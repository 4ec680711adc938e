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
from typing import Any, Final, TypeAlias

from omnitrace.errors import InputError
from omnitrace.media import MediaLimits
from omnitrace.sources.choice import settle_texts
from omnitrace.sources.formats import LABELS, turns_of
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.part_reading import Place, Reading, explicit_source, kind_of, read_part
from omnitrace.sources.parts import MediaPart, Part, TextPart
from omnitrace.types import Message, Modality

__all__ = ["Asked", "Conversation", "read_messages"]

# The options that decide what is read, and not only how it is cut.
_READ_BY: Final = ("system", "history", "video_fps", "use_audio_in_video")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Checked messages: their parts in order, the messages' roles, and the options they met.

    ``notes`` say what a user should know of the choice of sources. ``more`` holds for each message
    what chat templates read beside its content, such as ``tool_calls``; ``template`` the arguments
    of the chat template, such as ``tools``.
    """

    roles: tuple[str, ...]
    parts: tuple[Part, ...]
    options: SourceOptions = field(default_factory=SourceOptions, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    more: tuple[Mapping[str, Any], ...] = ()
    template: Mapping[str, Any] = field(default_factory=dict)

    def of(self, message: int) -> list[Part]:
        """Return the parts of one message."""
        return [part for part in self.parts if part.message == message]

    def more_of(self, message: int) -> Mapping[str, Any]:
        """Return what chat templates read of a message beside its content."""
        return self.more[message] if self.more else {}

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
                    entry = {"type": part.modality, "media": index[id(part)], **part.asked}
                for name in ("source_id", *LABELS):
                    if (value := getattr(part, name)) is not None:
                        entry[name] = value
                content.append(entry)
            messages.append({"role": role, "content": content, **self.more_of(number)})
        return tuple(messages)


Asked: TypeAlias = Sequence[Message] | Conversation
"""A request: chat messages, or what was read of them already."""


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
    turns = turns_of(messages)
    reading = Reading(options, limits, media_root)
    parts: list[Part] = []
    undecided: set[int] = set()
    for number, turn in enumerate(turns):
        for position, (raw, where) in enumerate(zip(turn.parts, turn.places, strict=True)):
            explicit = explicit_source(raw, where)
            if explicit is None and kind_of(raw, where) == "text":
                undecided.add(len(parts))
            place = Place(number, position, turn.role, where, explicit is not False)
            parts.append(read_part(raw, place, reading))
    roles = [turn.role for turn in turns]
    users = [number for number, role in enumerate(roles) if role == "user"]
    if not users:
        raise InputError("the request has no user message", legal="at least one role 'user'")
    if not any(_says_something(part) for part in parts if part.role == "user"):
        raise InputError("the user messages are blank", legal="a text or a medium in one of them")
    settled, notes = settle_texts(parts, undecided, users[-1], options)
    more = tuple(turn.more for turn in turns)
    return Conversation(tuple(roles), tuple(settled), options, notes, more)


def _says_something(part: Part) -> bool:
    return not isinstance(part, TextPart) or bool(part.text.strip())
