"""The selection rule, against examples made by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from omnitrace.attribution.masses import Masses
from omnitrace.attribution.selection import Selection, SelectionConfig, select_supports
from omnitrace.errors import InputError
from tests.helpers.masses import indices, make_masses, select

# Loose enough that a hand-made example sees only the rule that it is about.
PLAIN = SelectionConfig(
    gate=False,
    position_weights=False,
    confidence_weight=False,
    runs=False,
    coverage=1.0,
    p_min=0.0,
    run_min=0.0,
    fallback=False,
)


def votes_for(*choices: int | None, n_units: int = 3) -> Masses:
    """One token a choice, all its mass on that unit; None: on the instruction."""
    units = np.zeros((len(choices), n_units))
    for t, unit in enumerate(choices):
        if unit is not None:
            units[t, unit] = 1.0
    return make_masses(units, instruction=[1.0 if unit is None else 0.0 for unit in choices])


def with_(**changes: Any) -> SelectionConfig:
    return dataclasses.replace(PLAIN, **changes)


def test_shares_runs_and_scores() -> None:
    selection = select(votes_for(0, 0, 1, 0), with_(runs=True, alpha=0.8))
    first, second = selection.supports
    assert dataclasses.astuple(first) == pytest.approx((0, 0.75, 0.75, 0.5, 0.7, 1))
    assert dataclasses.astuple(second) == pytest.approx((1, 0.25, 0.25, 0.25, 0.25, 2))
    assert (selection.grounding, selection.ungrounded) == (1.0, False)


def test_gate() -> None:
    masses = make_masses([[0.3, 0.0], [0.0, 0.4], [0.3, 0.1]], [0.5, 0, 0.3], [0, 0.3, 0])
    assert indices(select(masses, PLAIN)) == [0, 1]
    gated = select(masses, with_(gate=True))
    assert indices(gated) == [0, 1]
    assert [s.share for s in gated.supports] == [0.5, 0.5]  # a tie leaves the token its vote
    masses = make_masses([[0.3, 0.0], [0.0, 0.4]], 0.0, [0.35, 0.35])
    assert indices(select(masses, with_(gate=True))) == [1]


def test_the_gate_never_takes_most_of_the_votes() -> None:
    """At the beginning of a response there is no generated text that could gate a token."""
    units = [[0.0, 0.1], *[[0.2, 0.0]] * 4]
    masses = make_masses(units, generated=[0.0, *[0.5] * 4])
    assert indices(select(masses, with_(gate=True, fallback=True))) == [0, 1]
    trusting = with_(gate=True, fallback=True, confidence_weight=True, coverage=0.85)
    assert indices(select(masses, trusting)) == [0]
    assert indices(select(masses, dataclasses.replace(trusting, fallback=False))) == [1]
    # One vote of two equal ones is not most of them.
    even = make_masses([[0.3, 0.0], [0.0, 0.3]], generated=[0.5, 0.0])
    assert indices(select(even, with_(gate=True, fallback=True))) == [1]


def test_a_span_all_of_whose_tokens_are_gated() -> None:
    masses = make_masses([[0.3, 0.1]] * 3, instruction=0.6)
    assert indices(select(masses, with_(gate=True, fallback=True))) == [0]
    selection = select(masses, with_(gate=True, fallback=False))
    assert (selection.supports, selection.ungrounded) == ((), True)
    assert selection.grounding == pytest.approx(0.4)
    selection = select(masses, with_(gate=True, fallback=True, min_grounding=0.5))
    assert (selection.supports, selection.ungrounded) == ((), True)


def test_a_span_of_punctuation_is_ungrounded() -> None:
    selection = select(votes_for(0, 1), with_(position_weights=True, fallback=True), [0.0, 0.0])
    assert (indices(selection), selection.ungrounded) == ([], True)


def test_position_weights() -> None:
    masses, weights = votes_for(0, 0, 1), [0.1, 0.1, 1.0]
    assert indices(select(masses, PLAIN, weights)) == [0, 1]
    assert indices(select(masses, with_(position_weights=True), weights)) == [1, 0]


def test_confidence_weight_and_gamma() -> None:
    masses = make_masses([[0.3, 0.0], [0.3, 0.0], [0.0, 0.5]])
    assert indices(select(masses, PLAIN)) == [0, 1]
    assert indices(select(masses, with_(confidence_weight=True, gamma=1.0))) == [0, 1]
    assert indices(select(masses, with_(confidence_weight=True, gamma=2.0))) == [1, 0]
    assert indices(select(masses, with_(confidence_weight=True, gamma=0.0))) == [0, 1]


def test_runs_and_alpha() -> None:
    masses = votes_for(0, 1, 1, 0, 2, 0)
    config = with_(runs=True, alpha=0.2)
    assert indices(select(masses, PLAIN)) == [0, 1, 2]
    assert indices(select(masses, config)) == [1, 0, 2]
    assert indices(select(masses, with_(runs=True, alpha=1.0))) == [0, 1, 2]
    # The run saves a unit that has too few votes.
    assert indices(select(masses, with_(p_min=0.4))) == [0]
    assert indices(select(masses, with_(p_min=0.4, run_min=0.3, runs=True))) == [0, 1]


def test_tokens_without_a_vote_neither_break_nor_lengthen_a_run() -> None:
    selection = select(votes_for(0, None, 0, None, 1, n_units=2), with_(gate=True))
    assert [s.run for s in selection.supports] == pytest.approx([2 / 3, 1 / 3])
    silent = with_(position_weights=True)
    selection = select(votes_for(0, 1, 0, 1), silent, [1, 0, 1, 1])
    assert [s.run for s in selection.supports] == pytest.approx([2 / 3, 1 / 3])


def test_coverage_includes_the_unit_that_crosses_it() -> None:
    masses = votes_for(0, 0, 0, 1, 2)
    assert indices(select(masses, with_(coverage=0.6))) == [0]
    assert indices(select(masses, with_(coverage=0.61))) == [0, 1]
    assert indices(select(masses, with_(coverage=0.9))) == [0, 1, 2]
    # Skipped units cover nothing.
    assert indices(select(masses, with_(coverage=0.9, p_min=0.3))) == [0]


def test_fallback_takes_the_unit_with_most_votes() -> None:
    masses = votes_for(0, 1, 2, 1, 3, n_units=4)
    assert select(masses, with_(p_min=0.5)).ungrounded
    selection = select(masses, with_(p_min=0.5, fallback=True))
    assert (indices(selection), selection.ungrounded) == ([1], False)
    assert selection.supports[0].share == 0.4


def test_min_grounding() -> None:
    masses = make_masses([[0.4]], instruction=0.3, rest=0.2)
    assert select(masses, PLAIN).grounding == pytest.approx(0.6 / 0.9)
    assert not select(masses, with_(min_grounding=0.6)).ungrounded
    assert not select(votes_for(0, None), with_(min_grounding=0.5)).ungrounded
    low = select(masses, with_(min_grounding=0.7, fallback=True))
    assert (low.ungrounded, low.supports) == (True, ())


def test_max_supports() -> None:
    assert indices(select(votes_for(0, 1, 1, 2), with_(max_supports=2))) == [1, 0]


def test_ties_go_to_the_lower_index() -> None:
    assert indices(select(votes_for(2, 0, 1), PLAIN)) == [0, 1, 2]
    assert indices(select(make_masses([[0.5, 0.5]]), PLAIN)) == [0]
    thirds = make_masses([[0.0, 0.7], [0.1, 0.0], [0.2, 0.0], [0.4, 0.0]])
    assert indices(select(thirds, with_(confidence_weight=True, gamma=1.0))) == [0, 1]


def test_per_modality() -> None:
    masses = make_masses([[0.5, 0.1, 0.2], [0.6, 0.3, 0.0], [0.5, 0.0, 0.0]])
    modalities = ["text", "image", "image"]
    assert indices(select(masses, PLAIN, modalities=modalities)) == [0]
    split = select(masses, with_(compete="per-modality"), modalities=modalities)
    assert indices(split) == [0, 1, 2]
    assert [s.share for s in split.supports] == [1.0, 0.5, 0.5]


def test_edges() -> None:
    config = SelectionConfig()
    none = Selection((), 0.0, ungrounded=True)
    assert (
        select_supports(make_masses(np.zeros((0, 2))), np.zeros(0), (0, 0), config, ["a"] * 2)
        == none
    )
    assert (
        select_supports(make_masses(np.ones((2, 2))), np.ones(2), (1, 1), config, ["a"] * 2) == none
    )
    assert select(make_masses(np.zeros((2, 2))), config) == none
    no_units = select(make_masses(np.zeros((2, 0)), rest=1.0), config)
    assert no_units == Selection((), 1.0, ungrounded=True)
    single = select(votes_for(1), config)
    assert dataclasses.astuple(single.supports[0]) == (1, 1.0, 1.0, 1.0, 1.0, 1)


def test_illegal_arguments() -> None:
    masses = make_masses(np.ones((2, 1)))
    for span in ((0, 3), (-1, 1), (2, 1)):
        with pytest.raises(InputError, match="token range"):
            select_supports(masses, np.ones(2), span, PLAIN, ["text"])
    with pytest.raises(InputError, match="1 weights and 2 modalities"):
        select_supports(masses, np.ones(1), (0, 1), PLAIN, ["text"] * 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("assign", "sum"), ("compete", "apart"), ("gate", 1), ("fallback", None)),
        *(("alpha", 1.1), ("alpha", "0.8"), ("alpha", float("nan")), ("alpha", True)),
        *(("gamma", -1), ("gamma", float("inf")), ("coverage", 0), ("coverage", 2)),
        *(("p_min", -0.1), ("run_min", 1.5), ("min_grounding", None)),
        *(("max_supports", 0), ("max_supports", 1.5), ("max_supports", True)),
    ],
)
def test_illegal_options_are_named(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name} is .*Legal: "):
        SelectionConfig(**{name: value})  # type: ignore[arg-type]


def test_config_to_and_from_dict() -> None:
    config = SelectionConfig(alpha=1, max_supports=3, compete="per-modality")
    assert SelectionConfig.from_dict(config.to_dict()) == config
    assert SelectionConfig.from_dict({}) == SelectionConfig()
    assert SelectionConfig().to_dict()["coverage"] == 0.85
    with pytest.raises(InputError, match=r"'pmin'.*did you mean 'p_min'"):
        SelectionConfig.from_dict({"pmin": 0.1})
    with pytest.raises(InputError, match="remove it"):
        SelectionConfig.from_dict({"zzz": 0.1})
