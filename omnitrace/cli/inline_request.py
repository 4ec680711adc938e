"""The quick form of ``omnitrace trace``: a request from options instead of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnitrace._utils.files import read_text
from omnitrace.errors import InputError
from omnitrace.sources.request_files import RequestEntry
from omnitrace.types import ContentPart

__all__ = ["QuickForm"]


@dataclass(frozen=True, slots=True)
class QuickForm:
    """What the options say; empty where they were not given."""

    texts: Sequence[str] = ()
    images: Sequence[str] = ()
    audios: Sequence[str] = ()
    videos: Sequence[str] = ()
    ask: str | None = None

    def __bool__(self) -> bool:
        return bool(self.texts or self.images or self.audios or self.videos or self.ask is not None)

    def request(self, media_root: Path | None) -> RequestEntry:
        """Build the request: texts, images, audios, videos, then the question.

        Raises
        ------
        InputError
            If there is no question, or a file is missing.
        """
        if self.ask is None:
            raise InputError(
                "the quick form has no question",
                legal="--ask with --text, --image, --audio or --video",
                fix='add e.g. --ask "What happens here?"',
            )
        root = media_root if media_root is not None else Path()
        content: list[ContentPart] = [
            {"type": "text", "text": _text(text, "--text")} for text in self.texts
        ]
        for kind, files in (("image", self.images), ("audio", self.audios), ("video", self.videos)):
            for file in files:
                if not file.startswith(("data:", "file:")) and not _is_file(root / file):
                    raise InputError(
                        f"--{kind} {file!r} is no file",
                        legal=f"a file, from {str(root.absolute())!r}",
                    )
                content.append({"type": kind, kind: file})
        content.append({"type": "text", "text": _text(self.ask, "--ask")})
        return RequestEntry("request", [{"role": "user", "content": content}], root)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for any file
        return False


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
