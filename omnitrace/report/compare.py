"""Two traces of the same request side by side: which of their statements belong together."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final

from omnitrace.errors import InputError
from omnitrace.trace.trace import Trace

__all__ = ["compare_view"]

_ALIKE: Final = 0.5  # of the characters: below it, two statements are not versions of one


def compare_view(traces: Sequence[Trace]) -> dict[str, Any]:
    """Pair the statements of two traces, and the units that are the same place.

    Parameters
    ----------
    traces:
        Two, of the same request: under two signals, by two models, or cut into other units.

    Returns
    -------
    dict
        ``pairs`` of a statement of the first trace and one of the second, either of them None
        where it has no counterpart; ``units``, pairs of indices of units at the same place.

    Raises
    ------
    InputError
        If there are not two traces, or they are not of the same request.
    """
    if len(traces) != 2:
        raise InputError(f"{len(traces)} traces to compare", legal="two traces")
    first, second = traces
    _check_requests(first, second)
    places = {(unit.modality, unit.locator): i for i, unit in enumerate(second.units)}
    return {
        "pairs": _pairs(
            [span.text.strip() for span in first.spans],
            [span.text.strip() for span in second.spans],
        ),
        "units": [
            [i, places[unit.modality, unit.locator]]
            for i, unit in enumerate(first.units)
            if (unit.modality, unit.locator) in places
        ],
    }


def _check_requests(first: Trace, second: Trace) -> None:
    same_media = [m.sha256 for m in first.media] == [m.sha256 for m in second.media]
    if first.messages != second.messages or not same_media:
        raise InputError(
            "the two traces are not of the same request",
            legal="two traces of the same messages and media, such as under two signals",
            fix="leave out --compare to have both in one report",
        )


def _pairs(first: Sequence[str], second: Sequence[str]) -> list[list[int | None]]:
    """Align two lists of texts: equal ones first, then in each gap those that are alike."""
    pairs: list[list[int | None]] = []
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        if tag == "equal":
            pairs += [[a0 + k, b0 + k] for k in range(a1 - a0)]
        else:
            pairs += _alike(first, second, range(a0, a1), range(b0, b1))
    return pairs


def _alike(
    first: Sequence[str], second: Sequence[str], here: range, there: range
) -> list[list[int | None]]:
    """Pair each text of ``here`` with the next of ``there`` that is alike, keeping the order."""
    pairs: list[list[int | None]] = []
    at = there.start
    for a in here:
        found = next((b for b in range(at, there.stop) if _ratio(first[a], second[b])), None)
        if found is None:
            pairs.append([a, None])
            continue
        pairs += [[None, b] for b in range(at, found)]
        pairs.append([a, found])
        at = found + 1
    return pairs + [[None, b] for b in range(at, there.stop)]


def _ratio(a: str, b: str) -> bool:
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() >= _ALIKE
