"""Entries of the OmniTrace paper's question files, as messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from omnitrace.errors import InputError
from omnitrace.types import ContentPart, Message

__all__ = ["media_root_of", "messages_of_question", "named"]

_MEDIA: Final = ("image", "audio", "video")
_KINDS: Final = ("text", *_MEDIA)


def messages_of_question(value: Mapping[str, Any], where: str) -> tuple[list[Message], list[str]]:
    """Turn an entry of a question file into messages; also return the media that it names."""
    question = value["question"]
    if not isinstance(question, list) or not question:
        raise InputError(
            f"{where}: 'question' is {named(question)}",
            legal='a list of parts such as {"text": "..."}',
        )
    prompt = value.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise InputError(f"{where}: 'prompt' is {named(prompt)}", legal="a string")
    content: list[ContentPart] = []
    files: list[str] = []
    for number, part in enumerate(question):
        place = f"{where}: 'question' part {number}"
        kinds = [kind for kind in _KINDS if isinstance(part, Mapping) and kind in part]
        if len(kinds) != 1:
            found = f"names {' and '.join(kinds)}" if kinds else f"is {named(part)}"
            raise InputError(f"{place} {found}", legal=f"exactly one of {', '.join(_KINDS)}")
        kind = kinds[0]
        for item in _strings(part[kind], kind, place):
            content.append({"type": kind, kind: item})
            if kind in _MEDIA:
                files.append(item)
    if prompt is not None and prompt.strip():
        content.append({"type": "text", "text": prompt})
    elif not any(part["type"] == "text" for part in content):
        raise InputError(
            f"{where}: 'prompt' is missing, and no question part is a text",
            legal='an instruction such as "prompt": "Summarize the audio."',
        )
    return [{"role": "user", "content": content}], files


def _strings(value: Any, kind: str, place: str) -> list[str]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and item for item in items):
        legal = "a string" if kind == "text" else "the path of a file"
        raise InputError(f"{place}: {kind!r} is {named(value)}", legal=f"{legal}, or a list of it")
    return items


def media_root_of(path: Path, files: list[str]) -> Path:
    """Choose the file's folder, or the one above where the media lie only there."""
    folder = path.absolute().parent

    def found(root: Path) -> int:
        try:
            return sum((root / file).is_file() for file in files)
        except (OSError, ValueError):  # a name that no file can have
            return 0

    return folder.parent if found(folder.parent) > found(folder) else path.parent


def named(value: Any) -> str:
    """Say what a JSON value is."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "an object" if value else "an empty object"
