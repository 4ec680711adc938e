"""Read requests from files: JSON, JSON Lines, and the OmniTrace paper's question files.

A ``.json`` file holds one request ``{"id"?, "messages": [...]}``, one bare list of messages, or a
list of requests; every line of a ``.jsonl`` file holds one request. An entry of a question file,
``{"id"?, "prompt", "question": [{"text" | "image" | "audio" | "video": ...}]}``, may stand wherever
a request may: its question parts become the sources in their order, its prompt the instruction.

Only the entries are checked here; what the messages hold is checked when they are traced.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from omnitrace._utils.documents import parse_json
from omnitrace._utils.files import read_text, what_is
from omnitrace._utils.paths import as_root
from omnitrace.errors import InputError
from omnitrace.sources.formats import check_keys
from omnitrace.sources.responses.given import GivenResponse
from omnitrace.sources.responses.reading import read_response
from omnitrace.types import ContentPart, Message, OpenRoot

__all__ = ["FileEntry", "RequestEntry", "RequestProblem", "read_requests"]

_MEDIA: Final = ("image", "audio", "video")
_KINDS: Final = ("text", *_MEDIA)
#: Keys of a request; what is under "metadata" and "title" is left alone.
_KEYS: Final = (
    *("id", "messages", "response", "tools", "chat_template_kwargs", "metadata", "title"),
    *("labels", "label"),
)
_FORMS: Final = (
    '{"messages": [...]} or {"prompt": "...", "question": [...]}, a list of these, '
    "or a list of messages"
)


@dataclass(frozen=True, slots=True)
class RequestEntry:
    """One request: a name, unique in its file, its messages, and where relative paths start.

    ``response`` is one that exists already: a text, token ids or what was read of an API's object;
    ``template`` holds ``tools`` and ``chat_template_kwargs``; ``raw`` is the entry as it stands in
    the file.
    """

    id: str
    messages: list[Message]
    media_root: Path
    raw: Any = field(default=None, compare=False, repr=False)
    response: str | list[int] | GivenResponse | None = None
    template: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestProblem:
    """An entry that is no request, and why."""

    id: str
    error: InputError


FileEntry: TypeAlias = RequestEntry | RequestProblem


def read_requests(path: str | Path, *, media_root: str | Path | None = None) -> list[FileEntry]:
    """Read all requests of a file; a bad entry becomes a problem and loses none of the others.

    Ids that occur again get a number (``0``, ``0-2``); entries without one are named after the
    file, and after their number or line where the file holds more than one.

    Parameters
    ----------
    path:
        A ``.json`` or ``.jsonl`` file.
    media_root:
        The folder where relative media paths start, and which all media must lie in unless it is
        an ``OpenRoot``. By default the file's own folder, which confines nothing; for an entry of
        a question file the folder above where its media are only there, as the paper's files name
        theirs from the root of the repository.

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON, or holds nothing.
    """
    path = Path(path)
    root = as_root(media_root)
    if root is not None and what_is(root) != "folder":
        raise InputError(f"the media root {str(root)!r} is no folder", legal="an existing folder")
    suffix = path.suffix.lower()
    if suffix not in (".json", ".jsonl"):
        raise InputError(f"{str(path)!r} is no request file", legal="a .json or .jsonl file")
    text = read_text(path, legal="a readable .json or .jsonl file")
    raw = _lines(path, text) if suffix == ".jsonl" else _document(path, text)
    entries: list[FileEntry] = []
    taken: dict[str, int] = {}
    for where, default, value in raw:
        entry = _entry(value, where, default, path, root)
        unique = _unique(entry.id, taken)
        if isinstance(entry, RequestEntry):
            entries.append(replace(entry, id=unique, raw=value))
        else:
            entries.append(RequestProblem(unique, entry.error))
    if not entries:
        raise InputError(f"{str(path)!r} holds no request", legal=_FORMS)
    return entries


def _lines(path: Path, text: str) -> Iterator[tuple[str, str, Any]]:
    # Only "\n" ends a line: other separators that str.splitlines knows may stand in JSON strings.
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        if line.strip():
            where = f"{str(path)!r}, line {number}"
            yield where, f"{path.stem}-{number}", _parse(line, where)


def _document(path: Path, text: str) -> Iterator[tuple[str, str, Any]]:
    where = repr(str(path))
    value = _parse(text, where)
    if isinstance(value, InputError):
        if _first_line_is_json(text):
            fix = "a file with one request a line must be named .jsonl"
            value = InputError(value.found, legal=_FORMS, fix=fix)
        raise value
    if isinstance(value, list) and not _is_messages(value):
        for number, item in enumerate(value):
            yield f"{where}, entry {number}", f"{path.stem}-{number}", item
    else:
        yield where, path.stem, value


def _parse(text: str, where: str) -> Any:
    """Return the JSON value, or the error that says why there is none."""
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}"
        if "\n" in text.strip():
            place = f"line {error.lineno}, {place}"
        return InputError(f"{where} is not JSON: {error.msg} at {place}", legal=_FORMS)
    except ValueError as error:
        return InputError(f"{where} is not JSON: {error}", legal=_FORMS)


def _first_line_is_json(text: str) -> bool:
    first, _, rest = text.strip().partition("\n")
    return bool(rest.strip()) and isinstance(_parse(first, ""), Mapping)


def _is_messages(value: list[Any]) -> bool:
    return any(isinstance(item, Mapping) and "role" in item for item in value) and not any(
        isinstance(item, Mapping) and ("messages" in item or "question" in item) for item in value
    )


def _entry(value: Any, where: str, default: str, path: Path, root: Path | None) -> FileEntry:
    name = default
    try:
        if isinstance(value, InputError):
            raise value
        name = _id(value, where, default)
        _check_text(value, where)
        if isinstance(value, list) and _is_messages(value):
            return RequestEntry(name, value, root or OpenRoot(path.parent))
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {_named(value)}, not a request", legal=_FORMS)
        if "messages" in value:
            check_keys(value, _KEYS, where)
            return RequestEntry(
                name,
                _messages(value["messages"], where),
                root or OpenRoot(path.parent),
                response=_response(value, where),
                template=_template(value, where),
            )
        if "question" in value:
            messages, files = _question(value, where)
            return RequestEntry(name, messages, root or OpenRoot(_root_of(path, files)))
        found = ", ".join(repr(str(key)) for key in list(value)[:6]) or "no field"
        raise InputError(f"{where} has no field 'messages' (it has {found})", legal=_FORMS)
    except InputError as error:
        return RequestProblem(name, error)


def _id(value: Any, where: str, default: str) -> str:
    raw = value.get("id") if isinstance(value, Mapping) else None
    if raw is None or raw == "":
        return default
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise InputError(f"{where}: 'id' is {_named(raw)}", legal="a string or an integer")
    return str(raw)


def _check_text(value: Any, where: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} holds half of a surrogate pair, {error.object[error.start]!r}",
            legal="text that can be written as UTF-8",
            fix="write the whole character, or both halves",
        ) from error


def _messages(value: Any, where: str) -> list[Message]:
    if not isinstance(value, list):
        raise InputError(f"{where}: 'messages' is {_named(value)}", legal="a list of messages")
    return value


def _response(value: Mapping[str, Any], where: str) -> str | list[int] | GivenResponse | None:
    given = value.get("response")
    if isinstance(given, Mapping):
        return read_response(given, where=f"{where}: response")
    if given is None or (isinstance(given, str) and given.strip()):
        return given
    if isinstance(given, list) and given and all(type(each) is int for each in given):
        return given
    raise InputError(
        f"{where}: 'response' is {given!r}"[:200],
        legal="the response as a text, a list of token ids or an API's object, or no such field",
    )


def _template(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    kinds = {"tools": (list, "a list of JSON schemas"), "chat_template_kwargs": (dict, "an object")}
    found: dict[str, Any] = {}
    for name, (kind, legal) in kinds.items():
        if value.get(name) is not None:
            if not isinstance(value[name], kind):
                raise InputError(f"{where}: {name!r} is {_named(value[name])}", legal=legal)
            found[name] = value[name]
    return found


def _question(value: Mapping[str, Any], where: str) -> tuple[list[Message], list[str]]:
    """Turn an entry of a question file into messages; also return the media that it names."""
    question = value["question"]
    if not isinstance(question, list) or not question:
        raise InputError(
            f"{where}: 'question' is {_named(question)}",
            legal='a list of parts such as {"text": "..."}',
        )
    prompt = value.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise InputError(f"{where}: 'prompt' is {_named(prompt)}", legal="a string")
    content: list[ContentPart] = []
    files: list[str] = []
    for number, part in enumerate(question):
        place = f"{where}: 'question' part {number}"
        kinds = [kind for kind in _KINDS if isinstance(part, Mapping) and kind in part]
        if len(kinds) != 1:
            found = f"names {' and '.join(kinds)}" if kinds else f"is {_named(part)}"
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
        raise InputError(f"{place}: {kind!r} is {_named(value)}", legal=f"{legal}, or a list of it")
    return items


def _root_of(path: Path, files: list[str]) -> Path:
    """Choose the file's folder, or the one above where the media lie only there."""
    folder = path.absolute().parent

    def found(root: Path) -> int:
        try:
            return sum((root / file).is_file() for file in files)
        except (OSError, ValueError):  # a name that no file can have
            return 0

    return folder.parent if found(folder.parent) > found(folder) else path.parent


def _named(value: Any) -> str:
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


def _unique(name: str, taken: dict[str, int]) -> str:
    """Return the name, with a number where it is taken; ``taken`` remembers the last number."""
    result = name
    while result in taken:
        taken[name] += 1
        result = f"{name}-{taken[name]}"
    taken[result] = 1
    return result
