"""What verification may cost, and when a unit counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from omnitrace._utils.checks import check_whole
from omnitrace.errors import InputError

__all__ = ["Verify"]


@dataclass(frozen=True, slots=True)
class Verify:
    """Options of the verification of supports.

    Parameters
    ----------
    shortlist:
        How many units of each span are tried alone, those that the signal scores highest, where
        the budget does not allow to try all.
    budget:
        What may be spent on one response beside the first pass, in passes over prompt and response;
        where 4,096 tokens are more, these. What runs have in common is not known ahead, so that
        it may be up to a pass more.
    missed:
        A unit is missed where leaving it out costs at least so many nats, and supports a span only
        if its effect is as large.
    """

    shortlist: int = 8
    budget: float = 14.0
    missed: float = 0.3

    def __post_init__(self) -> None:
        check_whole("shortlist", self.shortlist, 1)
        for name, low in (("budget", 1.0), ("missed", 0.0)):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value < float("inf"):
                raise InputError(
                    f"the verification's {name} is {value!r}", legal=f"a number of {low:g} or more"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return dataclasses.asdict(self)
