"""The threshold on effects that tells statements with a source from those without."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from omnitrace.evaluation.metrics.agreement import abstention_f1

__all__ = ["MeasuredStatement", "f1_at", "fit_threshold", "left_out_f1"]

# Smaller effects are none, and larger ones all alike: 0.1 nats are a tenth more or less likely.
_LEAST: Final = 0.1
_MOST: Final = 100.0
_TIE: Final = 1e-12


class MeasuredStatement(NamedTuple):
    """A statement: its request, whether it has a source, and the strongest effect, in nats."""

    request: str
    supported: bool
    effect: float


def fit_threshold(statements: Sequence[MeasuredStatement]) -> float:
    """Return the threshold, in nats, below which "no source" has the highest F1.

    All thresholds between two neighbouring effects say the same. Of those with the highest F1 it
    is the middle, in log scale, of the longest stretch.
    """
    effects = np.sort(_clipped(statements))
    none = np.sort(_clipped([each for each in statements if not each.supported]))
    edges = np.unique([_LEAST, *effects, _MOST])
    # At each edge but the first, what is said of all thresholds from the one before it on.
    said, right = (np.searchsorted(values, edges[1:]) for values in (effects, none))
    f1 = 2 * right / np.maximum(said + len(none), 1)
    longest = (1.0, 1.0)
    for best, group in itertools.groupby(range(len(f1)), lambda k: bool(f1[k] >= f1.max() - _TIE)):
        inside = list(group)
        low, high = float(edges[inside[0]]), float(edges[inside[-1] + 1])
        if best and high / low > longest[1] / longest[0]:
            longest = (low, high)
    return math.sqrt(longest[0] * longest[1])


def f1_at(threshold: float, statements: Sequence[MeasuredStatement]) -> float:
    """Return the F1 of "no source" where that is said of all effects below a threshold."""
    return _f1(_clipped(statements) < threshold, statements)


def left_out_f1(statements: Sequence[MeasuredStatement]) -> float | None:
    """Return the F1 where the threshold for each request is fitted to the other requests.

    None where that cannot be: the others have no statement of a kind.
    """
    said = np.zeros(len(statements), dtype=bool)
    effects = _clipped(statements)
    for request in dict.fromkeys(each.request for each in statements):
        others = [each for each in statements if each.request != request]
        if len({each.supported for each in others}) < 2:
            return None
        mine = np.array([each.request == request for each in statements])
        said[mine] = effects[mine] < fit_threshold(others)
    return _f1(said, statements)


def _clipped(statements: Sequence[MeasuredStatement]) -> np.ndarray:
    return np.clip([each.effect for each in statements], _LEAST, _MOST)


def _f1(said: np.ndarray, statements: Sequence[MeasuredStatement]) -> float:
    return abstention_f1(said, [not each.supported for each in statements]) or 0.0
