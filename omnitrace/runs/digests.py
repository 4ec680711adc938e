"""What decides the result of a request, as one digest."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from omnitrace._utils.files import open_regular, what_is
from omnitrace.errors import InputError
from omnitrace.sources.request_files import RequestEntry
from omnitrace.sources.responses.given import record_of

__all__ = ["digest_of_request", "digest_of_values"]

_EDGE: Final = 2**20
_NAMED: Final = 4096  # longer texts name no file
#: Keys of messages and parts whose texts are texts, even where a file has that name.
_TEXTS: Final = ("content", "role", "text", "title", "type")


def digest_of_request(entry: RequestEntry) -> str:
    """Return the SHA-256 of a request: its messages, media, response and template arguments.

    Media count by their content, wherever they lie and however they are called. Of a file of more
    than 2 MiB the size and the first and last MiB count: reading hours of video again, to find a
    run already done, would take longer than it saves.

    Raises
    ------
    InputError
        If the messages hold a value without a content, such as an open file.
    """
    return digest_of_values(
        {
            "messages": _plain(entry.messages, entry.media_root),
            "response": record_of(entry.response),
            "template": _plain(dict(entry.template), entry.media_root),
        }
    )


def digest_of_values(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, allow_nan=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any, root: Path) -> Any:
    """Return JSON values that are equal where the contents are."""
    if isinstance(value, Mapping):
        return {
            str(key): inner if key in _TEXTS and isinstance(inner, str) else _plain(inner, root)
            for key, inner in value.items()
            if inner is not None
        }
    if isinstance(value, str):
        return _medium_or_text(value, root)
    if isinstance(value, int | float | bool) or value is None:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _sha256(bytes(value))
    if isinstance(value, PathLike):
        return _medium_or_text(str(fspath(value)), root)
    if hasattr(value, "tobytes"):  # a picture of PIL, an array
        return _of_array(value)
    if hasattr(value, "detach"):  # a tensor
        return _of_array(value.detach().cpu().numpy())
    if isinstance(value, Sequence):
        return [_plain(each, root) for each in value]
    if callable(value):  # a function as a tool
        return f"{value.__module__}.{value.__qualname__}"
    raise InputError(
        f"a request holds a value of type {type(value).__name__}, which has no digest",
        legal="texts, numbers, bytes, paths, pictures and arrays",
    )


def _of_array(value: Any) -> Any:
    about = [str(getattr(value, name, "")) for name in ("dtype", "shape", "mode", "size")]
    return [*about, _sha256(value.tobytes())]


def _medium_or_text(text: str, root: Path) -> str:
    """Return a text as it is, or the digest of the file that it names."""
    if not text or len(text) > _NAMED or "\n" in text or text[:5].lower() == "data:":
        return text
    name = unquote(urlsplit(text).path) if text[:7].lower() == "file://" else text
    with contextlib.suppress(RuntimeError):  # "~someone", whom this machine does not know
        path = root / Path(name).expanduser()
        return _of_file(path) if what_is(path) == "file" else text
    return text


def _of_file(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            digest.update(file.read(_EDGE if size > 2 * _EDGE else size))
            if size > 2 * _EDGE:
                file.seek(-_EDGE, 2)
                digest.update(file.read())
    except OSError:  # what cannot be read is named when the request is traced
        return f"unreadable:{path.name}"
    return f"sha256:{size}:{digest.hexdigest()}"


def _sha256(data: bytes) -> str:
    return f"sha256:{len(data)}:{hashlib.sha256(data).hexdigest()}"
