"""Which part of the requests one of several processes or machines works on."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from omnitrace.errors import InputError

__all__ = ["Shard", "chosen", "count_chosen"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """The ``index``-th of ``count`` parts, from 1: every ``count``-th request.

    Raises
    ------
    InputError
        If there is no such part.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(
                f"the shard is {self.index}/{self.count}",
                legal="I/N with I from 1 to N: 1/4, 2/4, 3/4 and 4/4 are all of four shards",
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``"2/4"``.

        Raises
        ------
        InputError
            If it is none.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if found is None:
            raise InputError(f"the shard is {text!r}", legal="I/N, such as 1/4")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def chosen(
    items: Iterable[T], *, limit: int | None = None, shard: Shard | None = None
) -> Iterator[T]:
    """Yield the items of a shard; ``limit`` counts the items of all shards together."""
    taken = itertools.islice(items, limit)
    if shard is None:
        return taken
    return itertools.islice(taken, shard.index - 1, None, shard.count)


def count_chosen(total: int, *, limit: int | None = None, shard: Shard | None = None) -> int:
    """Return how many of ``total`` items :func:`chosen` yields."""
    taken = total if limit is None else min(total, limit)
    return taken if shard is None else len(range(shard.index - 1, taken, shard.count))
