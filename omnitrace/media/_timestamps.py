"""Time stamps of frames where a file leaves some out, repeats them or resets its clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

__all__ = ["mended"]

# Where frames would fall onto one tick, a tick is made of so many.
_FINER: Final = 1000


def mended(
    stamps: Sequence[int | None], step: float | Fraction, time_base: Fraction
) -> tuple[np.ndarray, Fraction]:
    """Return ascending time stamps, and the seconds of their ticks.

    Parameters
    ----------
    stamps:
        Of the frames in the order in which they are shown; None where a frame has none.
    step:
        Ticks that a frame lasts as a rule.
    time_base:
        Seconds of a tick.

    Returns
    -------
    tuple
        int64 ``[frames]`` and the seconds of a tick. The longest ascending run of stamps is kept,
        of equal ones the first; frames between two of them are spread evenly, those before and
        behind follow by ``step``. Where stamps contradict each other, and a steady rate leads from
        the first to the last (or most do), only the first holds.
    """
    given = [i for i, stamp in enumerate(stamps) if stamp is not None]
    kept = _ascending([int(stamps[i] or 0) for i in given])
    places = [given[i] for i in kept] or [0]
    values = [float(stamps[i] or 0) for i in places]
    if len(kept) < len(given):
        steady = (places[-1] - places[0]) * float(step)
        if len(kept) * 2 < len(given) or abs(values[-1] - values[0] - steady) <= step / 2:
            places, values = places[:1], values[:1]
    every = np.arange(len(stamps))
    ticks = np.interp(every, places, values)
    ticks += np.minimum(every - places[0], 0) * float(step)
    ticks += np.maximum(every - places[-1], 0) * float(step)
    whole = np.rint(ticks).astype(np.int64)
    if (np.diff(whole) > 0).all():
        return whole, time_base
    return np.rint(ticks * _FINER).astype(np.int64), time_base / _FINER


def _ascending(values: Sequence[int]) -> list[int]:
    """Return the indices of the first longest ascending run, of equal values the first."""
    ends: list[int] = []  # the smallest value that a run of each length ends with
    last: list[int] = []  # and its index
    before: list[int] = []
    at = -1
    for i, value in enumerate(values):
        length = bisect_left(ends, value)
        before.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(value)
            last.append(i)
            at = i
        elif value < ends[length]:
            ends[length], last[length] = value, i
    run = []
    while at >= 0:
        run.append(at)
        at = before[at]
    return run[::-1]
