"""Traces in files: a folder, or a single zip whose name ends in ``.omnitrace``.

Both hold ``trace.json`` (see :mod:`omnitrace.trace.schema`), ``scores.safetensors`` and, where
asked for, the original media as ``media/<index>``. The same trace gives the same bytes. Nothing is
pickled, members are read by these names alone, and none larger than what the document describes, so
a foreign file can do no more than be refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NoReturn, Protocol, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from omnitrace._utils.documents import parse_json, rename_member
from omnitrace._utils.files import (
    MAX_TEXT_BYTES,
    _beside,
    open_regular,
    reason_of,
    what_is,
    write_atomically,
)
from omnitrace.errors import TraceFileError
from omnitrace.trace.citations import documents_by_part, quote_of
from omnitrace.trace.codec import from_model, redacted, to_model
from omnitrace.trace.record import TraceRecord
from omnitrace.trace.schema import FORMAT, VERSION, Arrays, TraceModel, parse

__all__ = ["DOCUMENT", "SUFFIX", "load", "redacted", "save", "to_document"]

T = TypeVar("T", bound=TraceRecord)

SUFFIX: Final = ".omnitrace"
DOCUMENT: Final = "trace.json"
TENSORS: Final = "scores.safetensors"
MEDIA: Final = "media"

MAX_DOCUMENT_BYTES: Final = MAX_TEXT_BYTES
#: Largest tensor file, and largest stored medium: 4,096 tokens after a prompt of 128,000.
MAX_MEMBER_BYTES: Final = 2**31
_TENSOR_HEADER_BYTES: Final = 2**16
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can state
_TENSOR_NAMES: Final = ("kinds", "salience", "scores", "unit_index")


def _with_sections(document: dict[str, Any]) -> dict[str, Any]:
    """Turn version 1 into 2, which separates thoughts from the answer; before, all is answer."""
    spans = document.get("spans")
    if isinstance(spans, list):
        spans = [span | {"section": "answer"} if isinstance(span, dict) else span for span in spans]
    return document | {"version": 2, "spans": spans}


def _with_rollout(document: dict[str, Any]) -> dict[str, Any]:
    """Turn version 2 into 3, which calls rollout by that name and no longer "relay"."""
    return rename_member(document, "config", "relay", "rollout") | {"version": 3}


def _with_verdicts(document: dict[str, Any]) -> dict[str, Any]:
    """Turn version 3 into 4, which says what verification found; before, nothing was verified."""

    def unverified(span: Any) -> Any:
        if not isinstance(span, dict):
            return span
        changed = span | {"sources_effect": None, "verdict": None}
        if isinstance(supports := span.get("supports"), list):
            changed["supports"] = [_without_kind(each) for each in supports]
        if isinstance(effects := span.get("effects"), dict):
            changed["effects"] = {unit: _without_kind(each) for unit, each in effects.items()}
        return changed

    spans = document.get("spans")
    if isinstance(spans, list):
        spans = [unverified(span) for span in spans]
    return document | {"version": 4, "spans": spans}


def _without_kind(member: Any) -> Any:
    return member | {"kind": None} if isinstance(member, dict) else member


# What turns the document of a version into that of the next one; version 1 is the first.
_MIGRATIONS: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    1: _with_sections,
    2: _with_rollout,
    3: _with_verdicts,
}

_READ_ERRORS: Final = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def to_document(trace: TraceRecord) -> dict[str, Any]:
    """Return the trace without its score matrix as JSON-ready values, with quotes and documents."""
    model, _ = to_model(trace)
    document = model.model_dump(mode="json", exclude={"checksums"})
    documents = documents_by_part(trace)
    more = {}
    for unit, plain in zip(trace.units, document["units"], strict=True):
        place = unit.locator.message, unit.locator.part
        more[unit.id] = {"quote": quote_of(trace, unit), "document": documents[place].id}
        plain |= more[unit.id]
    for span in document["spans"]:
        for support in span["supports"]:
            support |= more[support["unit"]]
    return document


# --- writing ------------------------------------------------------------------------------------


def save(trace: TraceRecord, path: Path, *, media: bool = False) -> Path:
    """Write ``trace`` to ``path`` whole or not at all; see :meth:`Trace.save`.

    Raises
    ------
    TraceFileError
        If the trace cannot be represented, if ``path`` is something else than a trace, or if the
        place cannot be written.
    """
    if media:
        for i, record in enumerate(trace.media):
            if record.read is None:
                raise TraceFileError(
                    f"the original bytes of media {i} ({record.name!r}) are not in this trace",
                    fix="save without media=True, or trace again with the media kept",
                )
    members = _members(trace, media)
    as_zip = path.suffix == SUFFIX
    _check_target(path, as_zip)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if as_zip:
            with write_atomically(path) as file:
                _write_zip(file, members)
        else:
            _write_folder(path, members)
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        raise TraceFileError(f"cannot write {path}: {reason_of(error)}") from error
    return path


def _members(trace: TraceRecord, media: bool) -> dict[str, bytes]:
    model, arrays = to_model(trace, media=media)
    tensors = save_tensors({name: getattr(arrays, name) for name in _TENSOR_NAMES})
    document = model.model_dump(mode="json", exclude={"checksums"})
    document["checksums"] = {
        "document": _digest_of_document(document),
        "tensors": hashlib.sha256(tensors).hexdigest(),
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    members = {DOCUMENT: text.encode("utf-8"), TENSORS: tensors}
    for i, record in enumerate(trace.media):
        if media and record.read is not None:
            members[f"{MEDIA}/{i}"] = record.read()
    for name, data in members.items():
        limit = MAX_DOCUMENT_BYTES if name == DOCUMENT else MAX_MEMBER_BYTES
        if len(data) > limit:
            raise TraceFileError(
                f"{name} of this trace would have {len(data)} bytes",
                legal=f"at most {limit} bytes, which can be loaded again",
                fix="save it without media, or trace a shorter request",
            )
    return members


def _digest_of_document(document: Mapping[str, Any]) -> str:
    body = {name: value for name, value in document.items() if name != "checksums"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()


def _check_target(path: Path, as_zip: bool) -> None:
    kind = what_is(path)
    if as_zip and kind == "folder":
        raise TraceFileError(f"{path} is a folder, not an {SUFFIX} file", fix="choose another name")
    if as_zip or not kind:
        return
    if kind != "folder":
        raise TraceFileError(
            f"{path} is a file; without the ending {SUFFIX} a trace is a folder",
            fix=f"choose another name, or one that ends in {SUFFIX}",
        )
    foreign = [each.name for each in path.iterdir() if each.name not in (DOCUMENT, TENSORS, MEDIA)]
    if (path / MEDIA).is_dir():
        foreign += [f"{MEDIA}/{e.name}" for e in (path / MEDIA).iterdir() if not e.name.isdigit()]
    if foreign:
        raise TraceFileError(
            f"the folder {path} holds something else than a trace: {min(foreign)}",
            legal="a new folder, an empty one, or a trace to replace",
            fix="choose another folder",
        )


def _write_zip(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = 0o644 << 16
            compressed = name in (DOCUMENT, TENSORS)
            info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            archive.writestr(info, data, compresslevel=6 if name == DOCUMENT else 1)


def _write_folder(path: Path, members: Mapping[str, bytes]) -> None:
    fresh, old = _beside(path), _beside(path)
    try:
        fresh.mkdir()
        for name, data in members.items():
            (fresh / name).parent.mkdir(exist_ok=True)
            (fresh / name).write_bytes(data)
        if path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


# --- reading ------------------------------------------------------------------------------------


def load(path: Path, kind: type[T]) -> T:
    """Read a trace of this kind; see :meth:`Trace.load`."""
    if not what_is(path):
        raise TraceFileError(
            f"there is no trace at {path}",
            legal=f"a folder or an {SUFFIX} file that Trace.save wrote",
            fix="check the path",
        )
    try:
        with _open(path) as members:
            return _read(path, members, kind)
    except TraceFileError:
        raise
    except _READ_ERRORS as error:
        _refuse(path, f"it is damaged: {error or type(error).__name__}")


def _refuse(path: Path, reason: str) -> NoReturn:
    raise TraceFileError(
        f"cannot read the trace {path}: {reason}",
        legal=f"a folder or an {SUFFIX} file that Trace.save wrote",
        fix="save the trace again, or fetch the file again",
    )


class _Members(Protocol):
    """The members of a trace, by name; ``read`` refuses what is missing or too large."""

    def read(self, name: str, limit: int) -> bytes: ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str, limit: int) -> bytes:
        member = self._path / name
        if not what_is(member):
            _refuse(self._path, f"{name} is missing")
        with open_regular(member) as file:
            return _within(self._path, name, file.read(limit + 1), limit)


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive

    def read(self, name: str, limit: int) -> bytes:
        try:
            info = self._archive.getinfo(name)
        except KeyError:
            _refuse(self._path, f"{name} is missing")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            _refuse(self._path, f"{name} is compressed in a way that traces are not")
        # zipfile yields no more than the size stated here and checks the CRC at its end.
        if info.file_size > limit:
            _within(self._path, name, b"", limit, size=info.file_size)
        with self._archive.open(info) as file:
            return _within(self._path, name, file.read(), limit)


def _within(path: Path, name: str, data: bytes, limit: int, *, size: int | None = None) -> bytes:
    if (len(data) if size is None else size) > limit:
        _refuse(path, f"{name} is larger than the {limit} bytes that it can have")
    return data


@contextlib.contextmanager
def _open(path: Path) -> Iterator[_Members]:
    if what_is(path) == "folder":
        yield _Folder(path)
        return
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            _refuse(path, "it is neither a folder nor a complete zip file")
        with zipfile.ZipFile(file) as archive:
            yield _Zip(path, archive)


def _read(path: Path, members: _Members, kind: type[T]) -> T:
    document = _document(path, members.read(DOCUMENT, MAX_DOCUMENT_BYTES))
    checksums = document.get("checksums")
    digest = _digest_of_document(document)
    if not isinstance(checksums, dict) or checksums.get("document") != digest:
        _refuse(path, f"{DOCUMENT} was changed after it was written (its checksum differs)")
    for version in range(document["version"], VERSION):
        document = _MIGRATIONS[version](document)
    try:
        model = parse(json.dumps(document))
    except (ValueError, RecursionError) as error:
        _refuse(path, f"{DOCUMENT} breaks the schema at {error}")

    tokens, prompt = len(model.token_ids), len(model.prompt_ids)
    size = 4 * tokens * (prompt + tokens) + 8 * tokens + 5 * prompt
    tensors = members.read(TENSORS, min(size + _TENSOR_HEADER_BYTES, MAX_MEMBER_BYTES))
    if hashlib.sha256(tensors).hexdigest() != checksums.get("tensors"):
        _refuse(path, f"{TENSORS} is not the one that belongs to {DOCUMENT} (its checksum differs)")
    arrays = _arrays(path, tensors, model)
    return from_model(model, arrays, _media(path, members, model), kind)


def _document(path: Path, data: bytes) -> dict[str, Any]:
    try:
        document = parse_json(data.decode("utf-8"))
    except ValueError as error:
        _refuse(path, f"{DOCUMENT} is not valid JSON: {error}")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        _refuse(path, f"{DOCUMENT} does not say that it is of the format {FORMAT!r}")
    version = document.get("version")
    if type(version) is not int or version < 1:
        _refuse(path, f"{DOCUMENT} has the version {version!r}")
    if version > VERSION:
        raise TraceFileError(
            f"the trace {path} was written by a newer Omnitrace: version {version}; this one reads "
            f"up to {VERSION}; upgrade omnitrace-attribution",
        )
    return document


def _arrays(path: Path, data: bytes, model: TraceModel) -> Arrays:
    try:
        tensors = load_tensors(data)
        if sorted(tensors) != sorted(_TENSOR_NAMES):
            raise ValueError(f"it holds {sorted(tensors)} instead of {sorted(_TENSOR_NAMES)}")
        arrays = Arrays(**{name: np.asarray(tensors[name]) for name in _TENSOR_NAMES})
        arrays.check(model)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        _refuse(path, f"{TENSORS} does not fit {DOCUMENT}: {error}")
    return arrays


def _media(path: Path, members: _Members, model: TraceModel) -> dict[int, bytes]:
    media: dict[int, bytes] = {}
    for i, record in enumerate(model.media):
        if record.stored is not None:
            name = f"{MEDIA}/{i}"
            media[i] = members.read(name, min(record.stored.bytes, MAX_MEMBER_BYTES))
            if hashlib.sha256(media[i]).hexdigest() != record.stored.sha256:
                _refuse(path, f"{name} is not the file that was stored (its checksum differs)")
    return media
