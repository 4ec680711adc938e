"""Time stamps that are missing, repeated or begin again."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.media._timestamps import mended

TICK = Fraction(1, 100)


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        ([50, 54, 58], [0.5, 0.54, 0.58]),
        ([50, None, 58, None], [0.5, 0.54, 0.58, 0.62]),
        ([None, None, 58], [0.5, 0.54, 0.58]),
        ([50, 50, 58], [0.5, 0.54, 0.58]),  # repeated
        ([50, 54, 54, 54, 66], [0.5, 0.54, 0.58, 0.62, 0.66]),
        ([50, 54, 58, 0, 4, 8], [0.5, 0.54, 0.58, 0.62, 0.66, 0.7]),  # begins again
        ([50, 54, 9000, 62, 66], [0.5, 0.54, 0.58, 0.62, 0.66]),
        ([50, 54, 54, 58, 62, 70, 74], [0.5, 0.54, 0.58, 0.62, 0.66, 0.7, 0.74]),  # late, made up
        ([50, 54, 54, 70, 90], [0.5, 0.54, 0.62, 0.7, 0.9]),  # of no steady rate
        ([50, 40, 30, 20], [0.5, 0.54, 0.58, 0.62]),  # nonsense, but for its beginning
        ([None, None], [0, 0.04]),
        ([7], [0.07]),
    ],
)
def test_what_is_known_is_kept(stamps: list[int | None], seconds: list[float]):
    ticks, tick = mended(stamps, 4, TICK)
    assert ticks.dtype == np.int64
    assert (ticks * float(tick)).tolist() == pytest.approx(seconds)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1, max_size=40))
def test_they_always_ascend(stamps: list[int | None]):
    ticks, _ = mended(stamps, Fraction(7, 2), TICK)
    assert (np.diff(ticks) > 0).all()
    assert len(ticks) == len(stamps)
