"""A response whose scorer is made only when a mask is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omnitrace.errors import InputError
from omnitrace.types import SourceUnit

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer

__all__ = ["LazyScorer"]


@dataclass(frozen=True, slots=True)
class LazyScorer:
    """Describes a scorer, and makes it when it is needed: that costs one forward pass or two.

    Parameters
    ----------
    make:
        Returns the scorer. It is called for every measurement with a new mask, and may remember
        what it made.
    source_units, response:
        Those of the scorer.
    key:
        What measured values depend on beside units, response, operator and mask: the model, the
        prompt, the media. JSON-ready; part of the name under which values are kept.
    model:
        The model's name, for people who read a file of values.
    """

    make: Callable[[], ResponseScorer]
    source_units: tuple[SourceUnit, ...]
    response: tuple[int, ...]
    key: Mapping[str, Any]
    model: str

    def made(self) -> ResponseScorer:
        """Return the scorer.

        Raises
        ------
        InputError
            If it is of another response or of other units.
        """
        scorer = self.make()
        announced, found = (
            [(unit.id, unit.positions) for unit in each.source_units] for each in (self, scorer)
        )
        if scorer.response != self.response or found != announced:
            raise InputError(
                f"the scorer is of a response of {scorer.tokens} tokens and {len(scorer.units)} "
                "units that are not those it was announced for",
                legal=f"the {len(self.response)} tokens and {len(self.source_units)} units",
            )
        return scorer
