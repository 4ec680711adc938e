"""The quick form of ``omnitrace trace``: a request from options instead of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnitrace._utils.files import read_text, what_is
from omnitrace.errors import InputError
from omnitrace.runs.inputs import Requests
from omnitrace.sources.request_files import RequestEntry, RequestProblem
from omnitrace.types import ContentPart, Message, OpenRoot

__all__ = ["QuickForm", "marked"]


@dataclass(frozen=True, slots=True)
class QuickForm:
    """What the options say; empty where they were not given."""

    texts: Sequence[str] = ()
    images: Sequence[str] = ()
    audios: Sequence[str] = ()
    videos: Sequence[str] = ()
    ask: str | None = None
    transcripts: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self.ask is not None or any(
            (self.texts, self.images, self.audios, self.videos, self.transcripts)
        )

    def request(self, media_root: Path | None) -> RequestEntry:
        """Build the request: texts, images, audios, videos, then the question.

        Transcripts are those of the audios and then of the videos, in this order.

        Raises
        ------
        InputError
            If there is no question, a file is missing, or a transcript has no recording.
        """
        if self.ask is None:
            raise InputError(
                "the quick form has no question",
                legal="--ask with --text, --image, --audio or --video",
                fix='add e.g. --ask "What happens here?"',
            )
        root = media_root if media_root is not None else OpenRoot()
        content: list[ContentPart] = [
            {"type": "text", "text": _text(text, "--text")} for text in self.texts
        ]
        for kind, files in (("image", self.images), ("audio", self.audios), ("video", self.videos)):
            for file in files:
                if not file.startswith(("data:", "file:")) and what_is(root / file) != "file":
                    raise InputError(
                        f"--{kind} {file!r} is no file",
                        legal=f"a file, from {str(root.absolute())!r}",
                    )
                content.append({"type": kind, kind: file})
        self._add_transcripts(content)
        content.append({"type": "text", "text": _text(self.ask, "--ask")})
        return RequestEntry("request", [{"role": "user", "content": content}], root)

    def _add_transcripts(self, content: list[ContentPart]) -> None:
        speaking = [part for part in content if part["type"] in ("audio", "video")]
        if len(self.transcripts) > len(speaking):
            raise InputError(
                f"--transcript {self.transcripts[len(speaking)]!r} has no recording",
                legal="at most one --transcript for each --audio and --video, in their order",
            )
        for part, transcript in zip(speaking, self.transcripts, strict=False):
            part["transcript"] = transcript


def marked(requests: Requests, places: Sequence[str]) -> Requests:
    """Mark parts of every request as sources, as ``"source": true`` does.

    Parameters
    ----------
    requests:
        The requests.
    places:
        ``"0"`` for a message, ``"1.2"`` for one of its parts.

    Raises
    ------
    InputError
        If a place is none.
    """
    indices: list[tuple[int, int | None]] = []
    for place in places:
        message, dot, part = place.partition(".")
        if not (_is_index(message) and (_is_index(part) or not dot)):
            raise InputError(
                f"--source is {place!r}", legal="the index of a message, or of its part: 0 or 1.2"
            )
        indices.append((int(message), int(part) if dot else None))
    return requests.changed(lambda entry: _marked(entry, indices)) if indices else requests


def _marked(
    entry: RequestEntry | RequestProblem, indices: Sequence[tuple[int, int | None]]
) -> RequestEntry | RequestProblem:
    if isinstance(entry, RequestProblem):
        return entry
    messages = list(entry.messages)
    try:
        for message, part in indices:
            messages[message] = _with_sources(messages[message], part)
    except (IndexError, TypeError, AttributeError, ValueError):
        place = f"{message}" if part is None else f"{message}.{part}"
        found = f"--source {place}: the request has no such message or part"
        return RequestProblem(entry.id, InputError(found, legal="indices from 0"))
    return replace(entry, messages=messages)


def _with_sources(message: Message, part: int | None) -> Message:
    content: Any = message.get("content")
    if isinstance(content, str):
        if part not in (None, 0):
            raise IndexError(part)
        return {**message, "source": True}
    chosen = range(len(content)) if part is None else [range(len(content))[part]]
    return {
        **message,
        "content": [
            {**each, "source": True} if i in chosen else each for i, each in enumerate(content)
        ],
    }


def _is_index(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _text(value: str, option: str) -> str:
    """Return the text: from a file for ``@file``, without the first @ for ``@@text``."""
    if value.startswith("@@"):
        value = value[1:]
    elif value.startswith("@"):
        legal = "a text, or @ and the name of a text file"
        value = read_text(Path(value[1:]), legal=legal, subject=option)
    if not value.strip():
        raise InputError(f"{option} is empty", legal="a text")
    return value
