"""Malformed labels, and files of the OmniTrace paper that are to become labels."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

from tests.fuzz.case import Build, Case, Expected, Source
from tests.fuzz.good import Good
from tests.fuzz.mutate import damaged, mutated, put, to_json
from tests.fuzz.special_files import SPECIAL_FILES, SPECIAL_PATHS

__all__ = ["SOURCE"]

_OUT: Final = ("--json", "o.json", "--csv", "o.csv", "--html", "o.html")
Command = Literal["evaluate", "check"]


def _arguments(command: Command, good: Good) -> list[str]:
    if command == "evaluate":
        return ["evaluate", str(good.trace), "--labels", "l.jsonl", *_OUT]
    return ["label", "check", "l.jsonl", str(good.trace)]


def _lines(make: Callable[[dict[str, Any]], bytes], command: Command) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        (folder / "l.jsonl").write_bytes(make(good.label))
        return _arguments(command, good)

    return build


_FILES: Final[tuple[tuple[str, Callable[[dict[str, Any]], bytes], Expected], ...]] = (
    ("the good one", to_json, "accepted"),
    ("empty", lambda label: b"", "refused"),
    ("blank", lambda label: b"\n\n", "refused"),
    ("a byte order mark", lambda label: b"\xef\xbb\xbf" + to_json(label), "accepted"),
    ("UTF-16", lambda label: to_json(label).decode().encode("utf-16"), "refused"),
    ("a null", lambda label: to_json(label) + b"\0", "refused"),
    ("deep", lambda label: b"[" * 100_000 + b"]" * 100_000, "refused"),
    ("NaN", lambda label: b"NaN", "refused"),
    ("a list", lambda label: b"[]", "refused"),
    ("twice", lambda label: to_json(label) + b"\n" + to_json(label), "refused"),
    ("another id", lambda label: to_json(label | {"id": "other"}), "either"),
    ("an id that is a path", lambda label: to_json(label | {"id": "../../x"}), "either"),
    ("one bad of two", lambda label: to_json(label) + b"\n{", "refused"),
    ("no spans", lambda label: to_json(label | {"spans": []}), "either"),
    ("1,000 spans", lambda label: to_json(label | {"spans": label["spans"][:1] * 1000}), "either"),
    (
        "30 MB of empty lists",
        lambda label: b'{"spans": [' + b"[]," * (10 << 20) + b"[]]}",
        "refused",
    ),
    ("100,000 bad lines", lambda label: b"{}\n" * 100_000, "refused"),
)
_SOURCES: Final[tuple[tuple[str, dict[str, Any], Expected], ...]] = (
    ("message 9", {"type": "text", "message": 9, "part": 0, "start": 0, "end": 3}, "refused"),
    (
        "message 10³⁰",
        {"type": "text", "message": 10**30, "part": 0, "start": 0, "end": 3},
        "refused",
    ),
    (
        "a huge range",
        {"type": "text", "message": 0, "part": 0, "start": 0, "end": 10**300},
        "refused",
    ),
    (
        "a huge box",
        {"type": "image", "message": 0, "part": 1, "box": [0, 0, 1e308, 1e308]},
        "refused",
    ),
    (
        "huge seconds",
        {"type": "time", "message": 0, "part": 2, "start": 0, "end": 1e308},
        "refused",
    ),
    ("100 years", {"type": "time", "message": 0, "part": 2, "start": 0, "end": 3e9}, "refused"),
    (
        "tiny seconds",
        {"type": "time", "message": 0, "part": 2, "start": 0, "end": 5e-324},
        "either",
    ),
)
_PAPER: Final[list[Any]] = [
    {
        "id": "p",
        "input_text_chunks": ["The lamp weighs four grams."],
        "prompt": "What?",
        "question": [{"text": "The lamp weighs four grams."}],
        "response": "Four.",
        "labels": [{"text": "Four.", "text_source": [0]}],
    }
]


def _paper(document: Any) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        data = document if isinstance(document, bytes) else to_json(document)
        (folder / "p.json").write_bytes(data)
        return ["label", "import", "p.json", "--out", "l.jsonl"]

    return build


def _special(name: str, command: Command) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        SPECIAL_FILES[name](folder / "l.jsonl")
        return _arguments(command, good)

    return build


def _known() -> Iterator[Case]:
    commands: tuple[Command, ...] = ("evaluate", "check")
    for command in commands:
        for name, make, expected in _FILES:
            yield Case("labels", f"{command}, {name}", _lines(make, command), expected)
        for name, source, expected in _SOURCES:
            changed = lambda label, s=source: to_json(put(label, ("spans", 0, "sources"), [s]))  # noqa: E731
            yield Case("labels", f"{command}, {name}", _lines(changed, command), expected)
        for name in SPECIAL_FILES:
            yield Case("labels", f"{command}, {name}", _special(name, command), "refused")
    for path in SPECIAL_PATHS:
        build = lambda f, g, p=path: ["label", "import", p, "--out", "l.jsonl"]  # noqa: E731
        yield Case("labels", f"import {path[:40]!r}", build, "refused")
        build = lambda f, g, p=path: ["evaluate", str(g.trace), "--labels", p]  # noqa: E731
        yield Case("labels", f"--labels {path[:40]!r}", build, "refused")


def _more(rng: random.Random, index: int) -> Case:
    state = rng.getrandbits(64)
    if rng.random() < 0.3:
        name, document = mutated(_PAPER, rng)
        return Case("labels", f"import, {name}", _paper(document))
    command = rng.choice(("evaluate", "check"))
    if rng.random() < 0.2:
        flip = lambda label: damaged(to_json(label), random.Random(state))[1]  # noqa: E731
        return Case("labels", f"{command}, damaged, {state}", _lines(flip, command))
    change = lambda label: to_json(mutated(label, random.Random(state))[1])  # noqa: E731
    return Case("labels", f"{command}, changed, {state}", _lines(change, command))


SOURCE: Final = Source(_known, _more)
