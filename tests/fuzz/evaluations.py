"""Malformed evaluation files, outcomes, calibrations and chosen heads."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.fuzz.case import Build, Case, Source
from tests.fuzz.good import Good
from tests.fuzz.mutate import EXTREMES, damaged, mutated, put, to_json
from tests.fuzz.special_files import SPECIAL_FILES, SPECIAL_PATHS

__all__ = ["SOURCE"]


@functools.lru_cache(maxsize=1)
def _document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {**found, "rows": found["rows"][:12]}


def _compare(data: bytes, folder: Path, good: Good) -> list[str]:
    (folder / "e.json").write_bytes(data)
    return ["compare", "e.json", str(good.evaluation)]


def _special(name: str, option: str) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        SPECIAL_FILES[name](folder / "e.json")
        if option == "compare":
            return ["compare", str(good.evaluation), "e.json"]
        if option == "--outcomes":
            return ["analyse", str(good.trace), option, "e.json"]
        return ["trace", "--text", "a.", "--ask", "b?", "--max-new-tokens", "2", option, "e.json"]

    return build


#: Fields of a row that are whole numbers.
_COUNTS: Final = ("span", "word", "sources", "length", "common_units", "chosen_units", "true_units")


def _known() -> Iterator[Case]:
    for name in SPECIAL_FILES:
        for option in ("compare", "--outcomes", "--heads", "--calibration"):
            yield Case("evaluations", f"{option} {name}", _special(name, option), "refused")
    for path in SPECIAL_PATHS:
        build = lambda f, g, p=path: ["compare", str(g.evaluation), p]  # noqa: E731
        yield Case("evaluations", f"compare {path[:40]!r}", build, "refused")
        build = lambda f, g, p=path: ["analyse", str(g.trace), "--outcomes", p]  # noqa: E731
        yield Case("evaluations", f"--outcomes {path[:40]!r}", build, "refused")
    for field in _COUNTS:
        for number in EXTREMES:

            def build(folder: Path, good: Good, at: str = field, value: Any = number) -> list[str]:
                document = put(_document(good.evaluation), ("rows", 0, at), value)
                return _compare(to_json(document), folder, good)

            yield Case("evaluations", f"a row's {field} is {str(number)[:20]}", build)
    for name, data in (
        ("30 MB of empty lists", b'{"rows": [' + b"[]," * (10 << 20) + b"[]]}"),
        ("deep", b"[" * 100_000 + b"]" * 100_000),
    ):
        yield Case(
            "evaluations", name, lambda f, g, content=data: _compare(content, f, g), "refused"
        )


def _more(rng: random.Random, index: int) -> Case:
    state, flips = rng.getrandbits(64), rng.random() < 0.2

    def build(folder: Path, good: Good) -> list[str]:
        document, rng = _document(good.evaluation), random.Random(state)
        if flips:
            return _compare(damaged(to_json(document), rng)[1], folder, good)
        place = rng.choice(("rows", "rows", "labels", "effects", "signals", "all"))
        if place == "all":
            return _compare(to_json(mutated(document, rng)[1]), folder, good)
        changed = {**document, place: mutated(document.get(place, {}), rng)[1]}
        return _compare(to_json(changed), folder, good)

    return Case("evaluations", f"{'damaged' if flips else 'changed'}, {state}", build)


SOURCE: Final = Source(_known, _more)
