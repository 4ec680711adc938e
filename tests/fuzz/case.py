"""One malformed input: how its files are made, what is run on it, and what is right."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tests.fuzz.good import Good

__all__ = ["CATEGORIES", "Build", "Case", "Category", "Expected", "Source", "drawn"]

Category: TypeAlias = Literal[
    "requests", "units", "options", "media", "traces", "estimators", "labels", "evaluations"
]
CATEGORIES: tuple[Category, ...] = (
    *("requests", "units", "options", "media"),
    *("traces", "estimators", "labels", "evaluations"),
)
#: "refused": exit code 2. "accepted": 0. "either": one of them, and nothing else.
Expected: TypeAlias = Literal["refused", "accepted", "either"]
#: Writes the files into an empty folder, which becomes the working folder; returns the arguments.
Build: TypeAlias = Callable[[Path, Good], list[str]]


@dataclass(frozen=True, slots=True)
class Case:
    """An input of ``omnitrace``: ``build`` makes it when it is its turn.

    With ``tool`` "trace" the one argument is a trace, which is loaded and put to every use; else
    the arguments are those of the command line.
    """

    category: Category
    name: str
    build: Build
    expected: Expected = "either"
    tool: Literal["command", "trace"] = "command"

    @property
    def id(self) -> str:
        """Name the case."""
        return f"{self.category}: {self.name}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the cases of a category come from.

    ``known`` are those that are tried one by one; ``more`` draws one more from a generator.
    """

    known: Callable[[], Iterable[Case]]
    more: Callable[[random.Random, int], Case]


def drawn(sources: dict[Category, Source], seed: int, number: int) -> Iterator[Case]:
    """Draw cases, the same ones for the same seed and number.

    All that are known come first, in a random order, at most half of the number; the others are
    drawn, as many of each category.
    """
    rng = random.Random(f"{seed}")
    known = [case for source in sources.values() for case in source.known()]
    rng.shuffle(known)
    known = known[: max(number // 2, min(number, len(known)) if number >= 2000 else 0)]
    yield from known
    names = list(sources)
    for index in range(number - len(known)):
        name = names[index % len(names)]
        yield sources[name].more(random.Random(f"{seed}:{name}:{index}"), index)
