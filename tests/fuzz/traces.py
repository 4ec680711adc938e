"""Malformed traces: damaged, signed again after a change, bombs, and files that are none."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tests.fuzz.case import Build, Case, Expected, Source
from tests.fuzz.good import Good
from tests.fuzz.mutate import damaged, mutated, put, to_json
from tests.fuzz.special_files import SPECIAL_FILES, SPECIAL_PATHS

__all__ = ["SOURCE"]

_DOCUMENT: Final = "trace.json"
_TENSORS: Final = "scores.safetensors"
_MIB: Final = 1 << 20
_VERSION: Final = b'{"format":"omnitrace-trace","version":'
Members = dict[str, bytes]


@functools.lru_cache(maxsize=1)
def _members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _signed(members: Members, document: Any, tensors: bytes | None = None) -> bytes:
    """Return a trace with right checksums, whatever it says."""
    tensors = members[_TENSORS] if tensors is None else tensors
    if isinstance(document, dict):
        plain = json.loads(to_json({k: v for k, v in document.items() if k != "checksums"}))
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode("ascii")).hexdigest()
        signs = {"document": digest, "tensors": hashlib.sha256(tensors).hexdigest()}
        document = {**document, "checksums": signs}
    return _zip({**members, _DOCUMENT: to_json(document), _TENSORS: tensors})


def _trace(make: Callable[[Members], bytes], *, command: bool = False) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        path = folder / "t.omnitrace"
        path.write_bytes(make(_members(good.trace)))
        return [*(["show"] if command else []), path.name]

    return build


def _changed(*changes: tuple[tuple[Any, ...], Any]) -> Build:
    def make(members: Members) -> bytes:
        document = json.loads(members[_DOCUMENT])
        for at, value in changes:
            document = put(document, at, value)
        return _signed(members, document)

    return _trace(make)


def _with_tensors(change: Callable[[dict[str, np.ndarray]], dict[str, Any]]) -> Build:
    def make(members: Members) -> bytes:
        tensors = load_tensors(members[_TENSORS])
        tensors = {k: v for k, v in {**tensors, **change(tensors)}.items() if v is not None}
        packed = save_tensors({k: np.ascontiguousarray(v) for k, v in tensors.items()})
        return _signed(members, json.loads(members[_DOCUMENT]), packed)

    return _trace(make)


def _bomb(name: str, size: int, block: bytes, head: bytes = b"", tail: bytes = b"") -> Build:
    """A member that is far larger than its file."""

    def make(members: Members) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for other, data in members.items():
                if other != name:
                    archive.writestr(other, data)
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(head)
                for _ in range(size // len(block)):
                    file.write(block)
                file.write(tail)
        return out.getvalue()

    return _trace(make)


def _json_bomb(size: int, element: bytes) -> Build:
    head = b'{"format":"omnitrace-trace","version":4,"x":[1'
    return _bomb(_DOCUMENT, size, element * (_MIB // len(element)), head, b"]}")


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def _encrypted(data: bytes) -> bytes:
    changed = bytearray(data)
    at = changed.find(b"PK\x01\x02")
    while at >= 0:
        changed[at + 8] |= 1
        at = changed.find(b"PK\x01\x02", at + 4)
    return bytes(changed)


def _twice(members: Members) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data in [*members.items(), (_DOCUMENT, b"{}")]:
            archive.writestr(name, data)
    return out.getvalue()


def _raw(content: bytes) -> Build:
    return _trace(lambda members: _zip({**members, _DOCUMENT: content}))


def _safetensors(change: Callable[[bytes], bytes]) -> Build:
    return _trace(
        lambda members: _signed(members, json.loads(members[_DOCUMENT]), change(members[_TENSORS]))
    )


_IMAGE, _AUDIO, _VIDEO = 5, 17, 23  # units of the good trace
_LOCATOR: Final[tuple[tuple[str, tuple[Any, ...], Any, Expected], ...]] = (
    ("no grid", ("units", _IMAGE, "locator", "grid"), [0, 0], "refused"),
    ("a grid of one", ("units", _IMAGE, "locator", "grid"), [1, 1], "refused"),
    ("a huge grid", ("units", _IMAGE, "locator", "grid"), [10**9, 10**9], "refused"),
    ("a wide grid", ("units", _IMAGE, "locator", "grid"), [1, 10**7], "refused"),
    ("a cell beyond the grid", ("units", _IMAGE, "locator", "cells"), [10**9], "refused"),
    ("a cell beyond 64 bits", ("units", _IMAGE, "locator", "cells"), [10**300], "refused"),
    ("200,000 cells", ("units", _IMAGE, "locator", "cells"), list(range(200_000)), "refused"),
    ("an inverted box", ("units", _IMAGE, "locator", "box"), [9.0, 9.0, 0.0, 0.0], "refused"),
    ("a huge box", ("units", _IMAGE, "locator", "box"), [-1e308, -1e308, 1e308, 1e308], "refused"),
    ("inverted seconds", ("units", _AUDIO, "locator", "start"), 99.0, "refused"),
    ("negative seconds", ("units", _AUDIO, "locator", "start"), -99.0, "refused"),
    ("huge seconds", ("units", _AUDIO, "locator", "end"), 1e308, "refused"),
    ("frames beyond 64 bits", ("units", _VIDEO, "locator", "frames"), [10**300], "refused"),
)
_PLACES: Final[tuple[tuple[str, tuple[Any, ...], Any, Expected], ...]] = (
    *_LOCATOR,
    ("a share of 1e308", ("spans", 0, "supports", 0, "share"), 1e308, "refused"),
    ("a share of -5", ("spans", 0, "supports", 0, "share"), -5.0, "refused"),
    ("a grounding of 7", ("spans", 0, "grounding"), 7.0, "refused"),
    ("a rank beyond 64 bits", ("spans", 0, "supports", 0, "rank"), 10**300, "refused"),
    ("a confidence of -1", ("tokens", 0, "confidence"), -1.0, "refused"),
    ("a token id beyond 64 bits", ("token_ids", 0), 10**300, "refused"),
    ("a prompt id below 64 bits", ("prompt_ids", 0), -(10**300), "refused"),
    ("another token index", ("tokens", 0, "index"), 99, "refused"),
    ("a span index beyond 64 bits", ("spans", 0, "index"), 10**300, "refused"),
    ("spans that overlap", ("spans", 1, "token_start"), 0, "either"),
    ("no duration", ("media", 1, "duration"), 0.0, "either"),
    ("a duration of -1", ("media", 1, "duration"), -1.0, "refused"),
    ("a duration of 1e308", ("media", 1, "duration"), 1e308, "refused"),
    ("a duration of 5e-324", ("media", 1, "duration"), 5e-324, "either"),
    ("a size of 0", ("media", 0, "size"), [0, 0], "either"),
    ("a size beyond 64 bits", ("media", 0, "size"), [10**300, 1], "refused"),
    ("a size that no renderer draws", ("media", 0, "size"), [10**9, 10**9], "refused"),
    ("a preview that is no base64", ("media", 0, "previews"), ["%%%"], "refused"),
    ("a preview that is no JPEG", ("media", 0, "previews"), ["PHNjcmlwdD4="], "either"),
    ("fewer preview times", ("media", 2, "preview_times"), [], "either"),
    ("unordered preview times", ("media", 2, "preview_times"), [5.0, 1.0], "either"),
    ("100,000 previews", ("media", 2, "previews"), ["AAAA"] * 100_000, "refused"),
    ("a waveform of 1e308", ("media", 1, "waveform"), [1e308, -1e308], "refused"),
    ("a waveform of 300,000", ("media", 1, "waveform"), [0.5] * 300_000, "refused"),
    ("a frame time of 1e308", ("media", 2, "frame_times"), [1e308], "refused"),
    ("a name that is a path", ("media", 0, "name"), "../../../etc/passwd", "either"),
    ("a name that is a script", ("media", 0, "name"), "<script>alert(1)</script>", "either"),
    ("no digest", ("media", 0, "sha256"), "x", "refused"),
    ("a date of control characters", ("provenance", "created"), "\x1b[31m", "either"),
    ("huge timings", ("provenance", "timings"), {"generate": 1e308}, "either"),
    ("a deep signal", ("provenance", "signal"), _deep(80), "either"),
    ("a deeper signal", ("provenance", "signal"), _deep(400), "either"),
    ("a seed beyond 64 bits", ("provenance", "seed"), 10**300, "either"),
    ("generation beyond 64 bits", ("provenance", "generation"), {"n": 10**300}, "either"),
    ("a role that is a script", ("messages", 0, "role"), "<img src=x onerror=alert(1)>", "either"),
    ("an empty role", ("messages", 0, "role"), "", "either"),
    (
        "a source_id that is an object",
        ("messages", 0, "content", 0, "source_id"),
        {"a": 1},
        "either",
    ),
    ("no positions", ("units", 0, "positions"), [], "refused"),
    ("a position beyond 64 bits", ("units", 0, "positions"), [10**300], "refused"),
    ("another version", ("version",), 99, "refused"),
    ("version 1", ("version",), 1, "either"),
    ("version 2.0", ("version",), 2.0, "refused"),
    ("version true", ("version",), True, "refused"),
    ("a version beyond 64 bits", ("version",), 10**50, "refused"),
    ("half a surrogate pair", ("units", 0, "preview"), "\ud800", "refused"),
    ("an id that is a script", ("units", 0, "id"), "</script><script>", "either"),
    (
        "an effect of 1e308",
        ("spans", 0, "effects"),
        {"text-1": {"value": 1e308, "low": 1e308, "high": -1e308, "kind": None}},
        "either",
    ),
    ("a max_supports beyond 64 bits", ("config", "max_supports"), 10**300, "either"),
)
_ARRAYS: Final[tuple[tuple[str, Callable[[Any], dict[str, Any]], Expected], ...]] = (
    ("transposed", lambda t: {"scores": t["scores"].T}, "refused"),
    ("of float64", lambda t: {"scores": t["scores"].astype("f8")}, "refused"),
    ("NaN", lambda t: {"scores": t["scores"] * np.nan}, "refused"),
    ("infinite", lambda t: {"scores": np.full_like(t["scores"], np.inf)}, "refused"),
    ("3e38", lambda t: {"scores": np.full_like(t["scores"], 3e38)}, "either"),
    ("-3e38", lambda t: {"scores": np.full_like(t["scores"], -3e38)}, "either"),
    ("negative", lambda t: {"scores": -t["scores"]}, "either"),
    ("zero", lambda t: {"scores": t["scores"] * 0}, "either"),
    ("gone", lambda t: {"scores": None}, "refused"),
    ("and one more", lambda t: {"x": t["scores"]}, "refused"),
    ("salience of 1e308", lambda t: {"salience": t["salience"] * 0 + 1e308}, "either"),
    ("salience of -1", lambda t: {"salience": t["salience"] * 0 - 1}, "either"),
    ("kinds of 9", lambda t: {"kinds": t["kinds"] * 0 + 9}, "refused"),
    ("kinds of template", lambda t: {"kinds": t["kinds"] * 0}, "either"),
    ("one unit for all", lambda t: {"unit_index": t["unit_index"] * 0}, "refused"),
)
_HEADERS: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("a header of 2⁶³", lambda data: struct.pack("<Q", 2**63) + data[8:]),
    ("no header", lambda data: struct.pack("<Q", 0) + data[8:]),
    ("a header of rubbish", lambda data: struct.pack("<Q", 20) + b"x" * 20),
    ("a deep header", lambda data: struct.pack("<Q", 20_000) + b"[" * 20_000),
    ("nothing", lambda data: b""),
    ("a pickle", lambda data: b"\x80\x04cposix\nsystem\n(S'true'\ntR."),
)
_FILES: Final[tuple[tuple[str, Build, Expected], ...]] = (
    ("the good one", _trace(_zip), "accepted"),
    ("members that lead out", _trace(lambda m: _zip({**m, "../../x": b"x", "/x": b"x"})), "either"),
    ("300 MB of document", _bomb(_DOCUMENT, 300 * _MIB, bytes(_MIB)), "refused"),
    ("250 MB of blanks", _bomb(_DOCUMENT, 250 * _MIB, b" " * _MIB), "refused"),
    ("1 GB of tensors", _bomb(_TENSORS, 1024 * _MIB, bytes(_MIB)), "refused"),
    ("20 MB of empty lists", _json_bomb(20 * _MIB, b",[]"), "refused"),
    ("100 MB of empty lists", _json_bomb(100 * _MIB, b",[]"), "refused"),
    ("100 MB of empty objects", _json_bomb(100 * _MIB, b",{}"), "refused"),
    ("100 MB of numbers", _json_bomb(100 * _MIB, b",1e5"), "refused"),
    ("a member twice", _trace(_twice), "either"),
    ("a zip in a zip", _trace(lambda m: _zip({_DOCUMENT: _zip(m), _TENSORS: b""})), "refused"),
    ("encrypted", _trace(lambda m: _encrypted(_zip(m))), "refused"),
    ("bzip2", _trace(lambda m: _zip(m, zipfile.ZIP_BZIP2)), "refused"),
    ("lzma", _trace(lambda m: _zip(m, zipfile.ZIP_LZMA)), "refused"),
    ("a script before", _trace(lambda m: b"#!/bin/sh\n" + _zip(m)), "either"),
    ("something after", _trace(lambda m: _zip(m) + b"x" * 1000), "either"),
    ("no document", _trace(lambda m: _zip({_TENSORS: m[_TENSORS]})), "refused"),
    ("no tensors", _trace(lambda m: _zip({_DOCUMENT: m[_DOCUMENT]})), "refused"),
    ("an empty zip", _trace(lambda m: _zip({})), "refused"),
    ("an empty file", _trace(lambda m: b""), "refused"),
    ("a deep document", _raw(b"[" * 100_000 + b"]" * 100_000), "refused"),
    ("5,000 digits", _raw(_VERSION + b"9" * 5000 + b"}"), "refused"),
    ("4,000 digits", _raw(_VERSION + b"9" * 4000 + b"}"), "refused"),
    ("UTF-16", _raw('{"format":"omnitrace-trace"}'.encode("utf-16")), "refused"),
)  # fmt: skip


def _special(name: str, member: str = "") -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        path = folder / "t.omnitrace"
        if member:
            path.mkdir()
        SPECIAL_FILES[name](path / member if member else path)
        return ["show", path.name]

    return build


def _known() -> Iterator[Case]:
    for name, build, expected in _FILES:
        yield Case("traces", name, build, expected, "trace")
    for name, at, value, expected in _PLACES:
        yield Case("traces", name, _changed((at, value)), expected, "trace")
    for name, change, expected in _ARRAYS:
        yield Case("traces", f"scores {name}", _with_tensors(change), expected, "trace")
    for name, header in _HEADERS:
        yield Case("traces", f"tensors: {name}", _safetensors(header), "refused", "trace")
    for name in SPECIAL_FILES:
        yield Case("traces", f"{name}", _special(name), "refused")
        if name != "a socket":  # whose path must be in the working folder
            yield Case("traces", f"the document is {name}", _special(name, _DOCUMENT), "refused")
    for path in SPECIAL_PATHS:
        for command in ("show", "analyse"):
            name = f"{command} {path[:40]!r}"
            yield Case("traces", name, lambda f, g, p=path, c=command: [c, p], "refused")


def _more(rng: random.Random, index: int) -> Case:
    choice = rng.random()
    state = rng.getrandbits(64)
    if choice < 0.35:
        flip = lambda members: damaged(_zip(members), random.Random(state))[1]  # noqa: E731
        return Case("traces", f"damaged, {state}", _trace(flip), "either", "trace")

    def change(members: Members) -> bytes:
        _, document = mutated(json.loads(members[_DOCUMENT]), random.Random(state))
        try:
            return _signed(members, document)
        except (ValueError, RecursionError):  # what no program signs
            return _zip({**members, _DOCUMENT: to_json(document)})

    return Case("traces", f"changed, {state}", _trace(change), "either", "trace")


SOURCE: Final = Source(_known, _more)
