"""Which units are shown or left out in one pass."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.signals.verified.sharing import merged, spread


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 9))
def test_every_unit_is_in_one_group(units: int, groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = spread(rng.random((3, units)), rng.integers(1, 20, units), groups)
    assert sorted(k for group in found for k in group) == list(range(units))
    assert len(found) == min(units, groups)


def test_units_that_compete_for_a_span_are_apart() -> None:
    ranking = np.full((2, 12), 0.01)
    ranking[0, [0, 1, 2]] = 1.0, 0.9, 0.8
    ranking[1, [3, 4, 5]] = 0.7, 0.6, 0.5
    found = spread(ranking, np.full(12, 10), 3)
    assert all(len({0, 1, 2} & {*group}) == len({3, 4, 5} & {*group}) == 1 for group in found)


def test_groups_have_about_as_many_tokens() -> None:
    sizes = np.array([40, 40, 10, 10, 10, 10, 10, 10, 10, 10])
    found = spread(np.ones((1, 10)), sizes, 4)
    assert max(sizes[group].sum() for group in found) <= 50


def test_what_spans_need_apart_is_left_out_apart() -> None:
    asked = [(0, [1]), (1, [2]), (2, [3]), (0, [4])]
    found = merged(asked, lambda i, j: {i, j} == {0, 1})
    assert found == [[0, 2], [1, 3]]


def test_a_span_is_in_a_pass_once() -> None:
    assert merged([(0, [1]), (0, [2])], lambda i, j: False) == [[0], [1]]
