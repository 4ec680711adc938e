"""Which units are hidden or shown in one pass, for several spans at once.

A pass gives the values of all spans. What is left out for one span may be left out in the same pass
as what is left out for another, as long as neither span looks at the other's units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["merged", "spread"]


def spread(ranking: np.ndarray, sizes: np.ndarray, groups: int) -> list[list[int]]:
    """Share units out among groups such that units which compete for a span are apart.

    Parameters
    ----------
    ranking:
        float ``[spans, units]``, non-negative: what a unit's score is for each span.
    sizes:
        int ``[units]``: tokens of each unit. Groups get about as many.
    groups:
        How many, at least one.

    Returns
    -------
    list of list of int
        The units of each group; every unit is in one of them, and none is empty.
    """
    shares = ranking / np.maximum(ranking.max(axis=1, keepdims=True), 1e-12)
    most = 1.25 * sizes.sum() / groups
    held = np.zeros((groups, len(shares)))  # the shares of what a group holds already
    tokens = np.zeros(groups)
    found: list[list[int]] = [[] for _ in range(groups)]
    for k in np.argsort(-shares.max(axis=0, initial=0.0), kind="stable").tolist():
        compete = held @ shares[:, k]
        full = (tokens > 0) & (tokens + sizes[k] > most)
        # An empty group is always at hand while there are more units than groups.
        best = int(np.lexsort((tokens, compete, full))[0])
        found[best].append(k)
        held[best] += shares[:, k]
        tokens[best] += sizes[k]
    return [sorted(group) for group in found if group]


def merged(
    asked: Sequence[tuple[int, Sequence[int]]], apart: Callable[[int, int], bool]
) -> list[list[int]]:
    """Put what is left out for different spans together.

    Parameters
    ----------
    asked:
        Spans, each with the units that are left out for it. A span may come more than once.
    apart:
        Says of two indices of ``asked`` whether they must not be in one pass.

    Returns
    -------
    list of list of int
        Indices of ``asked``; those of one list go into one pass. No span is twice in a list.
    """
    rows: list[list[int]] = []
    for index, (s, _) in enumerate(asked):
        for row in rows:
            if all(asked[other][0] != s and not apart(index, other) for other in row):
                row.append(index)
                break
        else:
            rows.append([index])
    return rows
