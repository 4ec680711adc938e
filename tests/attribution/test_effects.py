"""From effects to supports, and what a span signal may return."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.attribution.effects import checked_effects, select_by_effect
from omnitrace.attribution.selection import SelectionConfig
from omnitrace.errors import InputError
from omnitrace.types import Effect, SourceUnit, TextRange


def units(count: int) -> list[SourceUnit]:
    return [SourceUnit(f"u{i}", "text", TextRange(0, 0, i, i + 1), (i,)) for i in range(count)]


def chosen(values: list[Effect], **options: Any) -> list[int]:
    effects = {f"u{i}": effect for i, effect in enumerate(values)}
    return [
        each.unit_index
        for each in select_by_effect(effects, units(len(values)), SelectionConfig(**options))
    ]


def test_units_are_ranked_by_effect_up_to_the_coverage() -> None:
    values = [Effect(1.0), Effect(6.0), Effect(-9.0), Effect(3.0)]
    assert chosen(values, coverage=0.6) == [1]
    assert chosen(values, coverage=0.61) == [1, 3]
    assert chosen(values, coverage=1.0, effect_min=0.0) == [1, 3, 0]
    assert chosen(values, coverage=1.0, effect_min=0.0, max_supports=2) == [1, 3]
    config = SelectionConfig(effect_min=0.0)
    found = select_by_effect({"u1": Effect(6.0), "u3": Effect(2.0)}, units(4), config)
    assert [(each.effect, each.share) for each in found] == [(6.0, 0.75), (2.0, 0.25)]


def test_units_far_below_the_strongest_are_left_out() -> None:
    values = [Effect(3.0), Effect(6.0), *[Effect(2.9)] * 20]
    assert chosen(values, coverage=1.0) == [1, 0]
    assert chosen(values, coverage=1.0, effect_min=0.6) == [1]
    assert len(chosen(values, coverage=1.0, effect_min=0.1)) == 22
    # What an interval disqualifies is no measure for the others.
    assert chosen([Effect(9.0, low=-1.0), Effect(2.0, low=1.0), Effect(1.5, low=1.0)]) == [1, 2]
    with pytest.raises(InputError, match=r"effect_min is 1\.5"):
        SelectionConfig(effect_min=1.5)


def test_an_interval_that_reaches_zero_disqualifies() -> None:
    values = [Effect(2.0, low=-0.5, high=4.0), Effect(1.0, low=0.2, high=2.0), Effect(0.5)]
    assert chosen(values, coverage=1.0) == [1, 2]
    assert chosen([Effect(2.0, low=0.0)]) == []


def test_without_positive_effects_nothing_is_chosen() -> None:
    assert chosen([Effect(0.0), Effect(-1.0)]) == []
    assert select_by_effect({}, units(2), SelectionConfig()) == []


def test_ties_keep_the_order_of_the_units() -> None:
    assert chosen([Effect(1.0), Effect(2.0), Effect(1.0)], coverage=1.0) == [1, 0, 2]


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.tuples(numbers, st.none() | numbers), max_size=12),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.none() | st.integers(1, 4),
)
def test_any_effects_give_a_ranking(
    drawn: list[tuple[float, float | None]], coverage: float, least: float, limit: int | None
) -> None:
    values = [Effect(value, low) for value, low in drawn]
    config = SelectionConfig(coverage=coverage, effect_min=least, max_supports=limit)
    found = select_by_effect({f"u{i}": v for i, v in enumerate(values)}, units(len(values)), config)
    effects = [each.effect for each in found]
    assert effects == sorted(effects, reverse=True)
    assert all(0 <= each.share <= 1 + 1e-12 for each in found)
    assert all(each >= least * effects[0] * (1 - 1e-6) for each in effects)
    assert sum(each.share for each in found) <= 1 + 1e-9
    for each in found:
        low = values[each.unit_index].low
        assert each.effect > 0
        assert low is None or low > 0
    significant = [v for v in values if v.value > 0 and (v.low is None or v.low > 0)]
    assert bool(found) == bool(significant)


def test_effects_become_plain_numbers() -> None:
    import numpy as np

    given_ = [{"u0": Effect(np.float32(0.5), low=0, high=np.float64(1.0))}, {}]  # type: ignore[arg-type]
    found = checked_effects(given_, 2, ["u0"])
    assert found == [{"u0": Effect(0.5, 0.0, 1.0)}, {}]
    assert type(found[0]["u0"].value) is float


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "a NoneType for 1 spans"),
        ([], "a list of 0 for 1 spans"),
        ([[1.0]], "a list for span 0"),
        ([{"u9": Effect(1.0)}], "unknown unit 'u9'"),
        ([{"u0": 1.0}], "1.0 as the effect of 'u0'"),
        ([{"u0": Effect(math.nan)}], "nan"),
        ([{"u0": Effect(math.inf)}], "inf"),
        ([{"u0": Effect(1.0, low=math.nan)}], "low=nan"),
        ([{"u0": Effect(1.0, low=2.0)}], "low=2.0"),
        ([{"u0": Effect("much")}], "much"),  # type: ignore[arg-type]
    ],
)
def test_what_breaks_the_contract_is_named(found: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_effects(found, 1, ["u0"])
