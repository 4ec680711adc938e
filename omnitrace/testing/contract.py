"""A promise: its name, its words, and what finds out whether it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from omnitrace.errors import ConformanceError

__all__ = ["Promise", "Subject", "check_all", "promises"]


class Subject(Protocol):
    """What is put to the test."""

    @property
    def subject(self) -> str:
        """What it is called in errors."""
        ...


S = TypeVar("S", bound=Subject)


@dataclass(frozen=True, slots=True)
class Promise(Generic[S]):
    """One promise of a protocol.

    ``breach`` returns what was found instead of the promised, with the offending value; None where
    the promise is kept.
    """

    name: str
    contract: str
    breach: Callable[[S], str | None]

    def check(self, bench: S) -> None:
        """Raise ConformanceError if the promise is broken."""
        found = self.breach(bench)
        if found is not None:
            raise ConformanceError(bench.subject, self.contract, found)


def promises(table: dict[str, Callable[[S], str | None]]) -> tuple[Promise[S], ...]:
    """Make promises of a table from their words to what looks for a breach, in its order."""
    return tuple(
        Promise(breach.__name__.strip("_").replace("_", "-"), contract, breach)
        for contract, breach in table.items()
    )


def check_all(kept: Sequence[Promise[S]], bench: S) -> None:
    """Check one after the other; raises ConformanceError at the first that is broken."""
    for promise in kept:
        promise.check(bench)
