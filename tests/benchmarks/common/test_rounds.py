"""Two ways that take turns: their order, and what is made of their seconds."""

from __future__ import annotations

import pytest

from common.clocks import Spent
from common.rounds import Rounds, take_turns


@pytest.mark.parametrize(("first", "order"), [(True, ["a", "b"]), (False, ["b", "a"])])
def test_which_way_begins_is_chosen(first: bool, order: list[str]) -> None:
    ran: list[str] = []
    ways = {name: lambda name=name: ran.append(name) or name for name in ("b", "a")}
    spent, found = take_turns(ways, first_by_name=first)
    assert ran == order
    assert found == {"a": "a", "b": "b"}
    assert all(each.wall >= 0 and each.cpu >= 0 for each in spent.values())


def test_ratios_are_those_within_a_round() -> None:
    rounds = Rounds([{"a": Spent(n, 2.0 * n), "b": Spent(2.0 * n, n)} for n in (1.0, 10.0, 3.0)])
    ratios = rounds.ratio("b", "a")
    assert {clock: each.value for clock, each in ratios.items()} == {"wall": 2.0, "cpu": 0.5}
    assert rounds.medians("a") == ["3.00", "6.00"]
    assert rounds.values()[0] == {"a": {"wall": 1.0, "cpu": 2.0}, "b": {"wall": 2.0, "cpu": 1.0}}
