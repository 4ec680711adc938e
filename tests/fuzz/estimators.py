"""Malformed estimators: their card, tensors and bytes."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import re
import struct
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

_ASK: Final = (
    *("trace", "--text", "The lamp weighs four grams.", "--ask", "What does the lamp weigh?"),
    *("--max-new-tokens", "2", "--estimator"),
)
_NAME: Final = "e.safetensors"


@functools.lru_cache(maxsize=1)
def _parts(path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return the card of a good estimator, its header and its numbers."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    return json.loads(header["__metadata__"]["omnitrace"]), header, data[8 + length :]


def _packed(good: Good, card: str | None) -> bytes:
    _, header, body = _parts(good.estimator)
    about = {} if card is None else {"__metadata__": {"omnitrace": card}}
    raw = json.dumps({**{k: v for k, v in header.items() if k != "__metadata__"}, **about}).encode()
    raw += b" " * (-len(raw) % 8)
    return _sealed(struct.pack("<Q", len(raw)) + raw + body)


def _sealed(data: bytes) -> bytes:
    """Return a file with a right checksum, where its card has one."""
    found = re.search(rb'\\"checksum\\": \\"([0-9a-f]{64})\\"', data)
    if found is None:
        return data
    start, end = found.span(1)
    digest = hashlib.sha256(data[:start] + b"0" * 64 + data[end:]).hexdigest()
    return data[:start] + digest.encode("ascii") + data[end:]


def _file(make: Callable[[Good], bytes]) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        (folder / _NAME).write_bytes(make(good))
        return [*_ASK, _NAME]

    return build


def _card(change: Callable[[dict[str, Any]], Any]) -> Build:
    return _file(
        lambda good: _packed(
            good, to_json(change(_parts(good.estimator)[0])).decode("utf-8", "replace")
        )
    )


def _text(text: str | None) -> Build:
    return _file(lambda good: _packed(good, text))


def _tensors(change: Callable[[np.ndarray], dict[str, Any]]) -> Build:
    def make(good: Good) -> bytes:
        tensors = load_tensors(good.estimator.read_bytes())
        tensors = {**tensors, **change(tensors["weights"])}
        packed = {k: np.ascontiguousarray(v) for k, v in tensors.items() if v is not None}
        return _sealed(save_tensors(packed, {"omnitrace": json.dumps(_parts(good.estimator)[0])}))

    return _file(make)


_DEEP: Final = '{"a":' * 5000 + "1" + "}" * 5000
_TEXTS: Final[tuple[tuple[str, str | None], ...]] = (
    ("deep", "[" * 100_000),
    ("deep and closed", "[" * 100_000 + "]" * 100_000),
    ("a deep object", '{"format": "omnitrace-estimator", "version": 2, "x": ' + _DEEP + "}"),
    ("empty", ""),
    ("a list", "[]"),
    ("NaN", "NaN"),
    ("gone", None),
    ("of 5,000 digits", '{"format": "omnitrace-estimator", "version": ' + "9" * 5000 + "}"),
    ("of 1 MB", '{"format": "omnitrace-estimator", "x": "' + "x" * 2**20 + '"}'),
)
_ARRAYS: Final[tuple[tuple[str, Callable[[Any], dict[str, Any]], Expected], ...]] = (
    ("NaN", lambda w: {"weights": w * np.nan}, "refused"),
    ("short", lambda w: {"weights": w[:-1]}, "refused"),
    ("in two dimensions", lambda w: {"weights": w[None]}, "refused"),
    ("gone", lambda w: {"weights": None}, "refused"),
    ("1e308", lambda w: {"weights": np.full(w.shape, 1e308)}, "either"),
    ("whole numbers", lambda w: {"weights": np.zeros(w.shape, "i8")}, "either"),
    ("and others", lambda w: {"zzz": w}, "refused"),
    ("and no noise", lambda w: {"covariance": np.zeros((2, 2), "f4"), "noise": None}, "refused"),
    (
        "and negative noise",
        lambda w: {"covariance": np.eye(len(w), dtype="f4"), "noise": np.array([-5.0])},
        "refused",
    ),
    (
        "and negative variances",
        lambda w: {"covariance": -np.eye(len(w), dtype="f4"), "noise": np.array([1.0])},
        "refused",
    ),
)
_LAYERS: Final[tuple[tuple[str, Any], ...]] = (
    ("10³⁰ layers", [10**30]),
    ("layer 2⁶³", [2**63]),
    ("100,000 layers", list(range(100_000))),
)


def _special(name: str) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        SPECIAL_FILES[name](folder / _NAME)
        return [*_ASK, _NAME]

    return build


def _known() -> Iterator[Case]:
    yield Case("estimators", "the good one", _file(lambda g: g.estimator.read_bytes()), "accepted")
    for name, text in _TEXTS:
        yield Case("estimators", f"a card {name}", _text(text), "refused")
    for name, change, expected in _ARRAYS:
        yield Case("estimators", f"weights {name}", _tensors(change), expected)
    for name, layers in _LAYERS:
        changed = _card(lambda card, value=layers: put(card, ("model", "layers"), value))
        yield Case("estimators", name, changed, "refused")
    for heads in (10**9, 10**30):
        changed = _card(lambda card, value=heads: put(card, ("model", "heads"), value))
        yield Case("estimators", f"{heads} heads", changed, "refused")
    for name in SPECIAL_FILES:
        yield Case("estimators", name, _special(name), "refused")
    for path in SPECIAL_PATHS:
        for option in ("--estimator", "--heads", "--calibration"):
            build = lambda f, g, p=path, o=option: [*_ASK[:-1], o, p]  # noqa: E731
            yield Case("estimators", f"{option} {path[:40]!r}", build, "refused")


def _more(rng: random.Random, index: int) -> Case:
    state = rng.getrandbits(64)
    if rng.random() < 0.25:
        flip = _file(
            lambda g: damaged(g.estimator.read_bytes(), random.Random(state), head=8000)[1]
        )
        return Case("estimators", f"damaged, {state}", flip)
    return Case(
        "estimators", f"changed, {state}", _card(lambda c: mutated(c, random.Random(state))[1])
    )


SOURCE: Final = Source(_known, _more)
