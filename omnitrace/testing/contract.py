"""A requirement of a contract: its name, its words, and the function that checks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from omnitrace.errors import ConformanceError

__all__ = ["Requirement", "Subject", "check_all", "requirements"]


class Subject(Protocol):
    """What is tested."""

    @property
    def subject(self) -> str:
        """What it is called in errors."""
        ...


S = TypeVar("S", bound=Subject)
S_contra = TypeVar("S_contra", bound=Subject, contravariant=True)


@dataclass(frozen=True, slots=True)
class Requirement(Generic[S_contra]):
    """One requirement of a protocol's contract.

    ``violation`` returns what was found instead, with the offending value; None if the requirement
    is met.
    """

    name: str
    contract: str
    violation: Callable[[S_contra], str | None]

    def check(self, harness: S_contra) -> None:
        """Raise ConformanceError if the requirement is not met."""
        found = self.violation(harness)
        if found is not None:
            raise ConformanceError(harness.subject, self.contract, found)


def requirements(table: dict[str, Callable[[S], str | None]]) -> tuple[Requirement[S], ...]:
    """Make requirements of a table that maps their words to what looks for a violation."""
    return tuple(
        Requirement(violation.__name__.strip("_").replace("_", "-"), contract, violation)
        for contract, violation in table.items()
    )


def check_all(contract: Sequence[Requirement[S]], harness: S) -> None:
    """Check one after the other; raises ConformanceError at the first that is not met."""
    for requirement in contract:
        requirement.check(harness)
