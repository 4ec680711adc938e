"""Change one thing of a good document: a value, a place that is gone, bytes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Final

__all__ = ["EXTREMES", "RAW", "WRONG", "damaged", "drop", "mutated", "places", "put", "to_json"]

#: A string value that begins so is written as the JSON text that follows.
RAW: Final = "@@RAW:"

#: Numbers at and beyond what formats and machines hold.
EXTREMES: Final[tuple[Any, ...]] = (
    *(0, -1, 1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**300),
    *(-(2**31) - 1, -(2**63) - 1, -(10**30), 1.5, -0.0, 1e-320, 1e-9, 1e308, -1e308),
    *(RAW + "1" + "0" * 400, RAW + "1" + "0" * 5000, RAW + "1e999", RAW + "-1e999", RAW + "NaN"),
)
#: What stands where something else should.
WRONG: Final[tuple[Any, ...]] = (
    *EXTREMES,
    *(None, True, False, "", " ", "zzz", "a\x00b", "\ud800", "\u202e", "../../x", "7", "1e5"),
    *([], {}, [None], [7], ["a", "b"], [[]], {"a": 1}, {"id": {"a": [1]}}),
    *(RAW + "[" * 200 + "]" * 200, RAW + "[" * 3000 + "]" * 3000),
    *(RAW + '{"a":' * 900 + "1" + "}" * 900, "lamp " * 40_000),
)

Place = tuple[Any, ...]


def to_json(document: Any) -> bytes:
    """Write a document as JSON; half surrogates as they are, and RAW values as they say."""
    text = json.dumps(document, ensure_ascii=False)
    while (at := text.find(f'"{RAW}')) >= 0:
        end = text.index('"', at + 1)
        # A raw value may hold quotes, which JSON has escaped.
        while text[end - 1] == "\\":
            end = text.index('"', end + 1)
        raw = json.loads(text[at : end + 1])
        text = text[:at] + raw[len(RAW) :] + text[end + 1 :]
    return text.encode("utf-8", "surrogatepass")


def places(document: Any, at: Place = ()) -> list[Place]:
    """Return the path of every value, the document itself first."""
    found = [at]
    if isinstance(document, dict):
        for key, value in document.items():
            found += places(value, (*at, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            found += places(value, (*at, index))
    return found


def put(document: Any, at: Place, value: Any) -> Any:
    """Return a copy with another value at a place."""
    if not at:
        return value
    changed = copy.deepcopy(document)
    _inner(changed, at)[at[-1]] = value
    return changed


def drop(document: Any, at: Place) -> Any:
    """Return a copy without what is at a place."""
    changed = copy.deepcopy(document)
    del _inner(changed, at)[at[-1]]
    return changed


def _inner(document: Any, at: Place) -> Any:
    for step in at[:-1]:
        document = document[step]
    return document


def mutated(document: Any, rng: random.Random) -> tuple[str, Any]:
    """Return what was done, and a copy with one or two places wrong or gone."""
    done: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.choice(places(document))
        name = ".".join(map(str, at)) or "all"
        if at and rng.random() < 0.15:
            document = drop(document, at)
            done.append(f"no {name}")
        else:
            value = rng.choice(WRONG)
            document = put(document, at, value)
            done.append(f"{name}={ascii(value)[:24]}")
    return ", ".join(done), document


def damaged(data: bytes, rng: random.Random, *, head: int = 200) -> tuple[str, bytes]:
    """Return what was done, and the bytes cut off, or with some of them changed.

    Half of the changes are among the first ``head`` bytes and the last ones, where formats say how
    large everything is.
    """
    if rng.random() < 0.3:
        at = rng.randrange(len(data))
        return f"cut at {at} of {len(data)}", data[:at]
    changed = bytearray(data)
    where: list[int] = []
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data))
        if rng.random() < 0.5:
            at = rng.choice(
                (rng.randrange(min(head, len(data))), max(0, len(data) - 1 - at % head))
            )
        changed[at] ^= 1 << rng.randrange(8)
        where.append(at)
    return f"changed at {where}", bytes(changed)
