"""What a user may pass as a medium, resolved to bytes, a name and, where there is one, a path."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from omnitrace.errors import MediaError
from omnitrace.media.limits import DEFAULT_LIMITS, MediaLimits

__all__ = ["MediaSource", "Source", "resolve_source"]

MediaSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_LEGAL = "a path, bytes, a data: URL or a file:// URL"


@dataclass(frozen=True, slots=True)
class Source:
    """A medium before decoding.

    Parameters
    ----------
    name:
        A short name for people: the file's name, ``<bytes>``, or ``<data:image/png>``.
    path:
        The absolute path, or ``None`` where the user passed bytes.
    size:
        Number of bytes.
    data:
        The bytes, or ``None`` where they lie in ``path`` (large videos are not read into memory).
    """

    name: str
    path: Path | None
    size: int
    data: bytes | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """What error messages call the medium: its path, else its name."""
        return repr(str(self.path)) if self.path is not None else self.name

    def read(self) -> bytes:
        """Return the original bytes."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise _unreadable(self.label, error) from error

    def held(self) -> Source:
        """Return the medium with its bytes, which whatever becomes of its file are decoded."""
        data = self.read()
        return Source(self.name, self.path, len(data), data)

    def sha256(self) -> str:
        """Return the SHA-256 of the original bytes, in hexadecimal."""
        if self.data is not None:
            return hashlib.sha256(self.data).hexdigest()
        assert self.path is not None
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(self.label, error) from error

    def reader(self) -> str | io.BytesIO:
        """Return what PyAV and decord open: a new stream of the bytes, else the absolute path."""
        return str(self.path) if self.data is None else _Named(self.data, self.name)


class _Named(io.BytesIO):
    """A stream with a name, whose ending helps FFmpeg to recognise the format."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def resolve_source(
    source: object,
    *,
    limits: MediaLimits = DEFAULT_LIMITS,
    media_root: str | os.PathLike[str] | None = None,
    legal: str = _LEGAL,
) -> Source:
    """Resolve what the user passed, without decoding it.

    Parameters
    ----------
    source:
        A path, bytes, a ``data:`` URL (base64 or percent-encoded) or a ``file://`` URL.
    limits:
        ``max_bytes`` is checked here.
    media_root:
        The folder against which relative paths are resolved; by default the working directory.
        It does not confine: absolute paths and ``..`` lead out of it.
    legal:
        What the caller accepts, for the error about a wrong type.

    Raises
    ------
    MediaError
        If nothing can be read there, or it is empty or larger than ``limits.max_bytes``.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes("<bytes>", bytes(source), limits)
    if not isinstance(source, str | os.PathLike):
        raise MediaError(
            f"a medium of type {type(source).__name__} cannot be read",
            legal=legal,
            fix="pass one of these (for an open file its .read(), for a tensor its .numpy())",
        )
    text = os.fspath(source)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if isinstance(source, str):
        if text[:5].lower() == "data:":
            return _from_data_url(text, limits)
        if text[:7].lower() == "file://":
            return _from_path(_file_url(text), limits, media_root)
        scheme = _SCHEME.match(text)
        if scheme is not None:
            raise MediaError(
                f"{_shorten(text)} is a {scheme['scheme'].lower()} URL, which is not fetched",
                legal=_LEGAL,
                fix="download it first and pass the path of the file",
            )
    return _from_path(text, limits, media_root)


def _from_bytes(name: str, data: bytes, limits: MediaLimits) -> Source:
    _check_size(name, len(data), limits)
    return Source(name=name, path=None, size=len(data), data=data)


def _from_path(text: str, limits: MediaLimits, media_root: str | os.PathLike[str] | None) -> Source:
    label = _shorten(text)
    if not text:
        raise MediaError("the path of a medium is empty", legal=_LEGAL, fix="pass a path")
    root = Path(media_root) if media_root is not None else Path()
    path = (root / _home(text)).absolute()
    try:
        if path.is_dir():
            raise MediaError(
                f"{label} is a directory", legal="one media file", fix="pass a file inside it"
            )
        if not path.exists():
            raise MediaError(
                f"there is no file {label}",
                legal=_LEGAL,
                fix=f"check the path; relative paths are resolved against {str(root.absolute())!r}",
            )
        if not path.is_file():
            raise MediaError(
                f"{label} is not a regular file",
                legal=_LEGAL,
                fix="write its content to a file, or pass its bytes",
            )
        size = path.stat().st_size
        path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise _unreadable(label, error) from error
    _check_size(repr(str(path)), size, limits)
    return Source(name=path.name, path=path, size=size)


def _home(text: str) -> Path:
    """Return the path with ``~`` replaced, where the user has a home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _from_data_url(text: str, limits: MediaLimits) -> Source:
    header, comma, payload = text[5:].partition(",")
    media_type, *options = header.split(";")
    name = f"<data:{media_type}>"[:80]
    if not comma:
        raise MediaError(
            f"{_shorten(text)} has no comma",
            legal="data:<type>;base64,<base64> or data:<type>,<percent-encoded>",
            fix="put a comma between the type and the data",
        )
    is_base64 = any(option.strip().lower() == "base64" for option in options)
    # Base64 needs 4 characters for 3 bytes, percent-encoding at most 3 for one.
    _check_size(name, max(1, len(payload) // 4 * 3 - 2 if is_base64 else len(payload) // 3), limits)
    data = unquote_to_bytes(payload)
    if is_base64:
        packed = b"".join(data.split())
        try:
            data = base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
        except binascii.Error as error:
            raise MediaError(
                f"{_shorten(text)} is not valid base64 ({error})",
                legal="data:<type>;base64,<base64>",
                fix="encode the file with base64.b64encode, or pass its path",
            ) from error
    return _from_bytes(name, data, limits)


def _file_url(text: str) -> str:
    try:
        host = urlsplit(text).netloc
    except ValueError as error:  # of square brackets around what is no address
        raise MediaError(
            f"{_shorten(text)} is no URL: {error}", legal="file:///absolute/path"
        ) from error
    if host.lower() not in {"", "localhost"}:
        raise MediaError(
            f"{_shorten(text)} names a file on the host {host!r}",
            legal="file:///absolute/path",
            fix="copy the file here, and write three slashes after file:",
        )
    return (
        url2pathname(text[7 + len(host) :]) if os.name == "nt" else unquote(text[7 + len(host) :])
    )


def _check_size(label: str, size: int, limits: MediaLimits) -> None:
    if size == 0:
        raise MediaError(
            f"{label} is empty (0 bytes)",
            legal="a file with content",
            fix="check that it was written or downloaded completely",
        )
    if size > limits.max_bytes:
        raise MediaError(
            f"{label} has {size} bytes",
            legal=f"at most {limits.max_bytes} bytes",
            fix="make it smaller, or raise MediaLimits(max_bytes=…)",
        )


def _unreadable(label: str, error: Exception) -> MediaError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return MediaError(
        f"{label} cannot be read: {reason}",
        legal=_LEGAL,
        fix="check the path and its permissions",
    )


def _shorten(text: str, length: int = 120) -> str:
    return repr(text if len(text) <= length else text[: length - 1] + "…")
