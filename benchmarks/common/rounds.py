"""Rounds in which two ways to do one thing take turns, about one long request."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from common.clocks import Spent
from common.report import fill_in, parser

if TYPE_CHECKING:
    from omnitrace.evaluation import Estimate

__all__ = ["Rounds", "parse_rounds", "take_turns"]

CLOCKS: Final = ("wall", "cpu")

_T = TypeVar("_T")


def take_turns(
    ways: Mapping[str, Callable[[], _T]], *, first_by_name: bool
) -> tuple[dict[str, Spent], dict[str, _T]]:
    """Do one thing in every way; return what each took, and what it gave.

    Parameters
    ----------
    ways:
        By their names.
    first_by_name:
        Whether they run in the order of their names, or the other way round.
    """
    spent, found = {}, {}
    for name in sorted(ways, reverse=not first_by_name):
        start = Spent.now()
        found[name] = ways[name]()
        spent[name] = Spent.now().since(start)
    return spent, found


class Rounds:
    """What the ways took, round by round.

    Parameters
    ----------
    spent:
        By way, for each round.
    """

    def __init__(self, spent: Sequence[Mapping[str, Spent]]) -> None:
        self._spent = spent

    def ratio(self, over: str, under: str) -> dict[str, Estimate]:
        """Return, by clock, the median of what one way took over what another took."""
        from common.medians import median_interval  # not above: --help must not wait for it

        return {
            clock: median_interval(
                [getattr(each[over], clock) / getattr(each[under], clock) for each in self._spent]
            )
            for clock in CLOCKS
        }

    def medians(self, way: str) -> list[str]:
        """Return the cells of a way: its median seconds by each clock."""
        return [
            f"{statistics.median(getattr(each[way], clock) for each in self._spent):.2f}"
            for clock in CLOCKS
        ]

    def values(self) -> list[dict[str, Any]]:
        """Return all of it as plain values."""
        return [{way: asdict(each) for way, each in spent.items()} for spent in self._spent]


def parse_rounds(
    what: str,
    arguments: Sequence[str] | None,
    *,
    prompt_tokens: int,
    new_tokens: int,
    rounds: int,
) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``.

    Parameters
    ----------
    what:
        What the benchmark does.
    arguments:
        Of the command line.
    prompt_tokens, new_tokens, rounds:
        By default, where it is not quick.
    """
    made = parser(what)
    made.add_argument("--prompt-tokens", type=int, help=f"by default {prompt_tokens}, quick 200")
    made.add_argument("--new-tokens", type=int, help=f"by default {new_tokens}, quick 24")
    made.add_argument("--rounds", type=int, help=f"by default {rounds}, quick 1")
    made.add_argument("--threads", type=int, default=1)
    given = made.parse_args(arguments)
    return fill_in(
        given,
        {
            "prompt_tokens": 200 if given.quick else prompt_tokens,
            "new_tokens": 24 if given.quick else new_tokens,
            "rounds": 1 if given.quick else rounds,
        },
    )
