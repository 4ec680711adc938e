"""Read requests from files: JSON, JSON Lines, and the OmniTrace paper's question files.

A ``.json`` file holds one request ``{"id"?, "messages": [...]}``, one bare list of messages, or a
list of requests; every line of a ``.jsonl`` file holds one request. An entry of a question file,
``{"id"?, "prompt", "question": [{"text" | "image" | "audio" | "video": ...}]}``, may stand wherever
a request may: its question parts become the sources in their order, its prompt the instruction. So
may a line of OpenAI's Batch API, ``{"custom_id", "body": {"messages": [...], ...}}``.

Only the entries are checked here; what the messages hold is checked when they are traced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from omnitrace._utils.documents import parse_json
from omnitrace._utils.files import MAX_TEXT_BYTES, open_regular, read_text, unreadable, what_is
from omnitrace._utils.lines import TOO_LONG, iter_lines
from omnitrace._utils.paths import as_root
from omnitrace.errors import InputError
from omnitrace.sources.formats import check_keys
from omnitrace.sources.question_files import media_root_of, messages_of_question, named
from omnitrace.sources.responses.given import GivenResponse
from omnitrace.sources.responses.reading import read_response
from omnitrace.types import Message, OpenRoot

__all__ = [
    *("FileEntry", "RequestEntry", "RequestProblem"),
    *("KEYS", "checked_root", "count_requests", "iter_requests", "named_entries"),
    "read_requests",
]

_READABLE: Final = "a readable .json or .jsonl file"
#: Keys of a request; what is under "metadata" and "title" is left alone.
KEYS: Final = (
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
    found = iter_requests(path, media_root=media_root)
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(
                f"cannot read {str(path)!r}: it has more than {MAX_TEXT_BYTES // 2**20} MiB",
                legal="a smaller file; `omnitrace trace` reads .jsonl files of any size",
            )
    entries = list(found)
    if not entries:
        raise InputError(f"{str(path)!r} holds no request", legal=_FORMS)
    return entries


def iter_requests(path: str | Path, *, media_root: str | Path | None = None) -> Iterator[FileEntry]:
    """Read the requests of a file one after the other: a ``.jsonl`` file may have any size.

    Parameters and entries are those of :func:`read_requests`. Of what was read only the digests of
    ids are kept.

    Raises
    ------
    InputError
        At once if the file is none or cannot be read.
    """
    path = Path(path)
    root = checked_root(media_root)
    suffix = path.suffix.lower()
    if suffix not in (".json", ".jsonl"):
        raise InputError(f"{str(path)!r} is no request file", legal="a .json or .jsonl file")
    if suffix == ".json":
        text = read_text(path, legal=_READABLE)
        return named_entries(_document(path, text), path, root)
    try:
        open_regular(path).close()
    except (OSError, ValueError) as error:
        raise unreadable(path, error, legal=_READABLE) from error
    return named_entries(_lines(path), path, root)


def checked_root(media_root: str | Path | None) -> Path | None:
    """Return the media root as a path.

    Raises
    ------
    InputError
        If it is no folder.
    """
    root = as_root(media_root)
    if root is not None and what_is(root) != "folder":
        raise InputError(f"the media root {str(root)!r} is no folder", legal="an existing folder")
    return root


def named_entries(
    raw: Iterable[tuple[str, str, Any]], path: Path, root: Path | None
) -> Iterator[FileEntry]:
    """Yield the request, or the problem, of each value; no two have one id.

    Parameters
    ----------
    raw:
        For each where it stands, the id that it has without one, and the value as JSON has it.
    path:
        The file, whose folder media paths start from.
    root:
        What they start from instead.
    """
    unique = _UniqueNames()
    for where, default, value in raw:
        entry = _entry(value, where, default, path, root)
        name = unique.of(entry.id)
        if isinstance(entry, RequestEntry):
            yield replace(entry, id=name, raw=value)
        else:
            yield RequestProblem(name, entry.error)


def count_requests(path: Path) -> int:
    """Return how many requests a ``.jsonl`` file holds, those that cannot be read among them.

    Raises
    ------
    InputError
        If the file is none or cannot be read.
    """
    try:
        return sum(1 for _ in iter_lines(path))
    except (OSError, ValueError) as error:
        raise unreadable(path, error, legal=_READABLE) from error


def _lines(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield the requests of a file, an error in place of each that is none.

    Raises
    ------
    InputError
        If the file cannot be read any more.
    """
    try:
        for line in iter_lines(path):
            where = f"{str(path)!r}, line {line.number}"
            too_long = InputError(f"{where} {TOO_LONG}")
            value = too_long if line.data is None else _of_line(line.data, where)
            yield where, f"{path.stem}-{line.number}", value
    except (OSError, ValueError) as error:
        raise unreadable(path, error, legal=_READABLE) from error


def _of_line(line: bytes, where: str) -> Any:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return InputError(f"{where} is not UTF-8 (byte {error.start})", fix="save it as UTF-8")
    return _parse(text, where)


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
        value = _of_batch(value)
        name = _id(value, where, default)
        _check_text(value, where)
        if isinstance(value, list) and _is_messages(value):
            return RequestEntry(name, value, root or OpenRoot(path.parent))
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {named(value)}, not a request", legal=_FORMS)
        if "messages" in value:
            check_keys(value, KEYS, where)
            return RequestEntry(
                name,
                _messages(value["messages"], where),
                root or OpenRoot(path.parent),
                response=_response(value, where),
                template=_template(value, where),
            )
        if "question" in value:
            messages, files = messages_of_question(value, where)
            return RequestEntry(name, messages, root or OpenRoot(media_root_of(path, files)))
        found = ", ".join(repr(str(key)) for key in list(value)[:6]) or "no field"
        raise InputError(f"{where} has no field 'messages' (it has {found})", legal=_FORMS)
    except InputError as error:
        return RequestProblem(name, error)


def _of_batch(value: Any) -> Any:
    """Return the request in a line of OpenAI's Batch API, of which sampling is left out."""
    body = value.get("body") if isinstance(value, Mapping) else None
    if not isinstance(body, Mapping) or "messages" in value:
        return value
    read = ("messages", "tools", "chat_template_kwargs")
    return {"id": value.get("custom_id"), **{name: body[name] for name in read if name in body}}


def _id(value: Any, where: str, default: str) -> str:
    raw = value.get("id") if isinstance(value, Mapping) else None
    if raw is None or raw == "":
        return default
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise InputError(f"{where}: 'id' is {named(raw)}", legal="a string or an integer")
    return str(raw)


def _check_text(value: Any, where: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False, default=lambda _: None).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} holds half of a surrogate pair, {error.object[error.start]!r}",
            legal="text that can be written as UTF-8",
            fix="write the whole character, or both halves",
        ) from error


def _messages(value: Any, where: str) -> list[Message]:
    if not isinstance(value, list):
        raise InputError(f"{where}: 'messages' is {named(value)}", legal="a list of messages")
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
                raise InputError(f"{where}: {name!r} is {named(value[name])}", legal=legal)
            found[name] = value[name]
    return found


class _UniqueNames:
    """Gives a number to a name that is taken; keeps eight bytes of each, for files of any size."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._last: dict[str, int] = {}

    def of(self, name: str) -> str:
        """Return the name, with the next number where it is taken."""
        result = name
        while (key := _short_digest(result)) in self._taken:
            self._last[name] = self._last.get(name, 1) + 1
            result = f"{name}-{self._last[name]}"
        self._taken.add(key)
        return result


def _short_digest(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
