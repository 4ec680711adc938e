"""Traces in files: a folder, or a single zip whose name ends in ``.omnitrace``.

Both hold ``trace.json`` (see :mod:`omnitrace.trace.schema`), ``scores.safetensors``, where asked
for the original media as ``media/<index>``, and of a run which request is answered
(:mod:`omnitrace.trace.request_record`). The same trace gives the same bytes. Nothing is
pickled, members are read by these names alone, and none larger than what the document describes or
:mod:`omnitrace.trace.archive` allows, so a foreign file can do no more than be refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from omnitrace._utils.documents import check_size, parse_json, rename_member
from omnitrace._utils.drafts import draft_beside, held_draft
from omnitrace._utils.files import in_folder, reason_of, what_is, write_atomically
from omnitrace.errors import TraceFileError
from omnitrace.trace.archive import (
    MAX_DOCUMENT_BYTES,
    MAX_MEMBER_BYTES,
    SUFFIX,
    Members,
    media_limit,
    opened,
    refuse,
)
from omnitrace.trace.citations import documents_by_part, quote_of
from omnitrace.trace.codec import from_model, redacted, to_model
from omnitrace.trace.record import TraceRecord
from omnitrace.trace.request_record import RECORD, RequestRecord
from omnitrace.trace.schema import FORMAT, VERSION, Arrays, TraceModel, parse

__all__ = ["DOCUMENT", "SUFFIX", "load", "redacted", "save", "to_document"]

T = TypeVar("T", bound=TraceRecord)

DOCUMENT: Final = "trace.json"
TENSORS: Final = "scores.safetensors"
MEDIA: Final = "media"
_NAMES: Final = (DOCUMENT, TENSORS, MEDIA, RECORD)

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


def save(
    trace: TraceRecord,
    path: Path,
    *,
    media: bool = False,
    metadata: bool = False,
    request: RequestRecord | None = None,
) -> Path:
    """Write ``trace`` to ``path`` whole or not at all; see :meth:`Trace.save`.

    Raises
    ------
    TraceFileError
        If the trace cannot be represented, if ``path`` is something else than a trace, or if the
        place cannot be written.
    MediaError
        If the private metadata of a medium cannot be separated from the rest.
    """
    members = _members(trace, _originals(trace, metadata) if media else {})
    as_zip = path.suffix == SUFFIX
    if request is not None:
        members[RECORD] = request.to_bytes()
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


def _originals(trace: TraceRecord, metadata: bool) -> dict[int, bytes]:
    from omnitrace.media.metadata import without_metadata

    originals: dict[int, bytes] = {}
    for i, record in enumerate(trace.media):
        if record.read is None:
            raise TraceFileError(
                f"the original bytes of media {i} ({record.name!r}) are not in this trace",
                fix="save without media=True, or trace again with the media kept",
            )
        data = record.read()
        originals[i] = data if metadata else without_metadata(data)
    return originals


def _members(trace: TraceRecord, originals: Mapping[int, bytes]) -> dict[str, bytes]:
    model, arrays = to_model(trace, originals)
    tensors = save_tensors({name: getattr(arrays, name) for name in _TENSOR_NAMES})
    document = model.model_dump(mode="json", exclude={"checksums"})
    document["checksums"] = {
        "document": _digest_of_document(document),
        "tensors": hashlib.sha256(tensors).hexdigest(),
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    members = {DOCUMENT: text.encode("utf-8"), TENSORS: tensors}
    _check_sizes(members)
    return members | {f"{MEDIA}/{i}": data for i, data in originals.items()}


def _check_sizes(members: Mapping[str, bytes]) -> None:
    """Refuse to write what would be refused when it is read."""
    for name, limit in ((DOCUMENT, MAX_DOCUMENT_BYTES), (TENSORS, MAX_MEMBER_BYTES)):
        if len(members[name]) > limit:
            raise TraceFileError(
                f"{name} of this trace would have {len(members[name])} bytes",
                legal=f"at most {limit} bytes, which can be loaded again",
                fix="trace a shorter request or response, or one of fewer units",
            )
    try:
        check_size(members[DOCUMENT].decode("utf-8"))
    except ValueError as error:
        raise TraceFileError(
            f"this trace cannot be written: {error}",
            fix="trace a shorter request or response, or one of fewer units",
        ) from error


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
    foreign = [each.name for each in in_folder(path) if each.name not in _NAMES]
    if what_is(path / MEDIA) == "folder":
        foreign += [f"{MEDIA}/{e.name}" for e in in_folder(path / MEDIA) if not e.name.isdigit()]
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
    fresh, old = draft_beside(path), draft_beside(path, "old")
    try:
        fresh.mkdir()
        with held_draft(fresh):
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
        with opened(path) as members:
            return _read(path, members, kind)
    except TraceFileError:
        raise
    except _READ_ERRORS as error:
        refuse(path, f"it is damaged: {error or type(error).__name__}")


def _read(path: Path, members: Members, kind: type[T]) -> T:
    document = _document(path, members.read(DOCUMENT, MAX_DOCUMENT_BYTES))
    checksums = document.get("checksums")
    digest = _digest_of_document(document)
    if not isinstance(checksums, dict) or checksums.get("document") != digest:
        refuse(path, f"{DOCUMENT} was changed after it was written (its checksum differs)")
    for version in range(document["version"], VERSION):
        document = _MIGRATIONS[version](document)
    try:
        model = parse(json.dumps(document))
    except (ValueError, RecursionError) as error:
        refuse(path, f"{DOCUMENT} breaks the schema at {error}")

    tokens, prompt = len(model.token_ids), len(model.prompt_ids)
    size = 4 * tokens * (prompt + tokens) + 8 * tokens + 5 * prompt
    tensors = members.read(TENSORS, min(size + _TENSOR_HEADER_BYTES, MAX_MEMBER_BYTES))
    if hashlib.sha256(tensors).hexdigest() != checksums.get("tensors"):
        refuse(path, f"{TENSORS} is not the one that belongs to {DOCUMENT} (its checksum differs)")
    arrays = _arrays(path, tensors, model)
    return from_model(model, arrays, _media(path, members, model), kind)


def _document(path: Path, data: bytes) -> dict[str, Any]:
    try:
        document = parse_json(data.decode("utf-8"))
    except ValueError as error:
        refuse(path, f"{DOCUMENT} is not valid JSON: {error}")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        refuse(path, f"{DOCUMENT} does not say that it is of the format {FORMAT!r}")
    version = document.get("version")
    if type(version) is not int or version < 1:
        refuse(path, f"{DOCUMENT} has the version {version!r}")
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
        refuse(path, f"{TENSORS} does not fit {DOCUMENT}: {error}")
    return arrays


def _media(path: Path, members: Members, model: TraceModel) -> dict[int, bytes]:
    media: dict[int, bytes] = {}
    left = media_limit(members) if any(each.stored for each in model.media) else 0
    for i, record in enumerate(model.media):
        if record.stored is not None:
            name = f"{MEDIA}/{i}"
            media[i] = members.read(name, min(record.stored.bytes, left, MAX_MEMBER_BYTES))
            left -= len(media[i])
            if hashlib.sha256(media[i]).hexdigest() != record.stored.sha256:
                refuse(path, f"{name} is not the file that was stored (its checksum differs)")
    return media
