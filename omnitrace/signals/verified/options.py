"""What verification may cost, and when a unit counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from omnitrace._utils.checks import check_whole
from omnitrace.errors import InputError

__all__ = ["Verify"]

# Passes, and the tokens that may always be spent: of a short request all passes are cheap.
_TEXT: Final = 3.0, 3000.0
_MEDIA: Final = 14.0, 4096.0


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
        where 3,000 tokens are more (4,096 with media), these. None allows 3 passes where all
        sources are text, which is about what writing the response takes, and 14 else: media show
        one thing in several units. What runs have in common is not known ahead, so that it may be
        up to a pass more.
    missed:
        A unit is missed where leaving it out costs at least so many nats, and supports a span only
        if its effect is as large.
    """

    shortlist: int = 8
    budget: float | None = None
    missed: float = 0.3

    def __post_init__(self) -> None:
        check_whole("shortlist", self.shortlist, 1)
        for name, low in (("budget", 1.0), ("missed", 0.0)):
            value = getattr(self, name)
            if name == "budget" and value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value < float("inf"):
                raise InputError(
                    f"the verification's {name} is {value!r}", legal=f"a number of {low:g} or more"
                )

    def tokens(self, length: int, modalities: Collection[str]) -> float:
        """Return the tokens that may be spent on a response.

        Parameters
        ----------
        length:
            Tokens of prompt and response.
        modalities:
            Of the sources.
        """
        passes, least = _TEXT if {"text"}.issuperset(modalities) else _MEDIA
        return max((self.budget or passes) * length, least)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return dataclasses.asdict(self)
