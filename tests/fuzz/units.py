"""Units that a user draws: ranges, boxes and seconds that are none, for each modality."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from tests.fuzz.case import Case, Expected, Source
from tests.fuzz.media_files import file_of
from tests.fuzz.mutate import EXTREMES, RAW, WRONG
from tests.fuzz.requests import ask, request

__all__ = ["SOURCE"]

_TEXT: Final = {"type": "text", "text": "The lamp weighs four grams. The rope is long."}
_NAMES: Final = {"image": "m.png", "audio": "m.wav", "video": "m.mp4"}
_KINDS: Final = ("text", "image", "audio", "video")
_HUGE: Final = RAW + "1" + "0" * 400

_RANGES: Final[dict[str, Any]] = {
    "inverted": [[9, 3]],
    "empty": [[3, 3]],
    "negative": [[-1, 5]],
    "far beyond": [[0, 10**6]],
    "beyond 64 bits": [[0, 10**30]],
    "a huge number": [[0, _HUGE]],
    "minus a huge number": [[RAW + "-1" + "0" * 400, 4]],
    "over another": [[0, 9], [1, 12]],
    "twice the same": [[0, 1], [0, 1]],
    "nested": [[[0, 9]]],
    "of three": [[0, 4, 9]],
    "of one": [[0]],
    "of none": [[]],
    "strings": [["0", "9"]],
    "bools": [[False, True]],
    "nulls": [[None, None]],
    "infinite": [[0, RAW + "1e999"]],
    "NaN": [[0, RAW + "NaN"]],
    "an empty object": [{}],
    "other keys": [{"from": 0, "to": 1}],
    "a start only": [{"start": 0}],
    "an unknown key": [{"start": 0, "end": 1, "colour": 3}],
    "a misspelt key": [{"start": 0, "end": 1, "Id": "a"}],
    "a range and a box": [{"start": 0, "end": 1, "box": [0, 0, 4, 4]}],
    "one string": "0-9",
    "a number": 7,
    "an object": {"start": 0, "end": 1},
    "a list of strings": ["0-9"],
    "a list of nulls": [None],
    "no units": [],
    "a box of strings": [{"box": "0,0,9,9"}],
    "a box that is an object": [{"box": {"x0": 0}}],
    "a box that is null": [{"box": None}],
    "an id twice": [{"start": 0, "end": 1, "id": "a"}, {"start": 1, "end": 2, "id": "a"}],
    "an id that is an object": [{"start": 0, "end": 1, "id": {"a": 1}}],
    "an id that is a list": [{"start": 0, "end": 1, "id": [1]}],
    "an id that is true": [{"start": 0, "end": 1, "id": True}],
    "an empty id": [{"start": 0, "end": 1, "id": ""}],
    "an id of half a pair": [{"start": 0, "end": 1, "id": "\ud800"}],
}
_EITHER: Final[dict[str, Any]] = {
    "3,000 of them": [[i / 1e4, (i + 1) / 1e4] for i in range(3000)],
    "tiny": [[0, 1e-300]],
    "denormal": [[0, 5e-324]],
    "minus zero": [[RAW + "-0.0", 1]],
    "halves": [[0.5, 1.5]],
    "an id like ours": [{"start": 0, "end": 1, "id": "text-1"}, [1, 2]],
    "an id of 1 MB": [{"start": 0, "end": 1, "id": "u" * 2**20}],
}
_BOXES: Final[dict[str, tuple[Any, Expected]]] = {
    "inverted": ([[9, 9, 3, 3]], "refused"),
    "outside": ([[0, 0, 10**4, 10**4]], "refused"),
    "negative": ([[-5, 0, 9, 9]], "refused"),
    "flat": ([[0, 0, 9, 0]], "refused"),
    "huge": ([[0, 0, _HUGE, 9]], "refused"),
    "infinite": ([[0, 0, RAW + "1e999", 9]], "refused"),
    "strings": ([["0", "0", "9", "9"]], "refused"),
    "of five": ([[0, 0, 9, 9, 9]], "refused"),
    "ids that are lists": ([{"box": [0, 0, 40, 40], "id": [1]}], "refused"),
    "an unknown key": ([{"box": [0, 0, 40, 40], "x0": 3}], "refused"),
    "over another": ([[0, 0, 40, 40], [20, 20, 60, 60]], "either"),
    "the same twice": ([[0, 0, 40, 40], [0, 0, 40, 40]], "either"),
    "smaller than a pixel": ([[0, 0, 0.001, 0.001]], "either"),
    "60 slices": ([[i, 0, i + 1, 1] for i in range(60)], "either"),
}


def _part(kind: str, units: Any) -> dict[str, Any]:
    part = dict(_TEXT) if kind == "text" else {"type": kind, kind: _NAMES[kind]}
    return {**part, "units": units}


def _case(kind: str, name: str, units: Any, expected: Expected = "either") -> Case:
    files = {} if kind == "text" else {_NAMES[kind].replace(".", "_"): file_of(_NAMES[kind][2:])}
    return Case("units", f"{kind}, {name}", request(ask(_part(kind, units)), **files), expected)


def _known() -> Iterator[Case]:
    for kind in _KINDS:
        for name, units in _RANGES.items():
            yield _case(kind, name, units, "refused")
        for name, units in _EITHER.items():
            yield _case(kind, name, units)
    for name, (units, expected) in _BOXES.items():
        yield _case("image", f"box {name}", units, expected)


def _number(rng: random.Random) -> Any:
    usual = rng.choice((0, 1, 2, 8, 27, 40, 0.5, 1.25))
    return rng.choice((usual, usual, usual, rng.choice(EXTREMES), rng.choice(WRONG)))


def _unit(rng: random.Random, kind: str) -> Any:
    width = 4 if kind == "image" and rng.random() < 0.9 else rng.choice((2, 2, 2, 4, 3, 1, 0))
    numbers = [_number(rng) for _ in range(width)]
    form = rng.random()
    if form < 0.5:
        return numbers
    found: dict[str, Any] = (
        {"box": numbers} if width == 4 else dict(zip(("start", "end", "x"), numbers, strict=False))
    )
    if rng.random() < 0.6:
        found["id"] = rng.choice((*WRONG, "a", "b", 1))
    return found


def _more(rng: random.Random, index: int) -> Case:
    kind = rng.choice(_KINDS)
    units = [_unit(rng, kind) for _ in range(rng.choice((1, 1, 2, 3)))]
    return _case(kind, ascii(units)[:60], units)


SOURCE: Final = Source(_known, _more)
