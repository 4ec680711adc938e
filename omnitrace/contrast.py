"""Two answers side by side: which token of one stands in the place of which of the other."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from omnitrace.errors import InputError

__all__ = ["foils_of"]


def foils_of(ids: Sequence[int], others: Sequence[int]) -> list[int | None]:
    """Pair each token with what the other answer has in its place; None where nothing differs.

    Raises
    ------
    InputError
        If the answers have no token that takes another's place.
    """
    foils: list[int | None] = [None] * len(ids)
    matcher = difflib.SequenceMatcher(None, ids, others, autojunk=False)
    for tag, first, last, other_first, other_last in matcher.get_opcodes():
        if tag == "replace":
            count = min(last - first, other_last - other_first)
            foils[first : first + count] = others[other_first : other_first + count]
    if all(foil is None for foil in foils):
        raise InputError(
            "no word of the response stands in the place of another one of `against`",
            legal="two answers that differ in some words",
        )
    return foils
