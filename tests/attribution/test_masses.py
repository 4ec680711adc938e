"""Scores to masses and token traces, against loops that say the same slowly."""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.attribution.masses import Assign, Masses, token_traces, unit_masses
from omnitrace.errors import InputError
from omnitrace.types import Layout, PositionKind, SourceUnit, TextRange

T, Q, S, G = PositionKind  # template, instruction (the question), source, generated
FIELDS = [field.name for field in dataclasses.fields(Masses)]


def make_layout(kinds: list[int], unit_index: list[int], n_units: int | None = None) -> Layout:
    n_units = max(unit_index, default=-1) + 1 if n_units is None else n_units
    units = tuple(
        SourceUnit(
            id=f"u{u}",
            modality="text",
            locator=TextRange(0, 0, u, u + 1),
            positions=tuple(p for p, owner in enumerate(unit_index) if owner == u),
        )
        for u in range(n_units)
    )
    return Layout(np.array(kinds, dtype=np.uint8), np.array(unit_index, dtype=np.int32), units)


def causal(rng: np.random.Generator, tokens: int, prompt: int) -> np.ndarray:
    scores = rng.random((tokens, prompt + tokens)) ** 4
    scores[rng.random(scores.shape) < 0.3] = 0
    return scores * (np.arange(prompt + tokens) < prompt + np.arange(tokens)[:, None])


def slow(scores: np.ndarray, layout: Layout, assign: str) -> dict[str, list]:
    """``unit_masses`` as its documentation reads: one position after the other."""
    out: dict[str, list] = {name: [] for name in FIELDS}
    prompt = layout.prompt_length
    for t, row in enumerate(scores.tolist()):
        groups: dict[object, list[float]] = collections.defaultdict(list)
        for p in range(prompt + t):
            kind = int(layout.kinds[p]) if p < prompt else G
            owner = int(layout.unit_index[p]) if p < prompt else -1
            groups[("unit", owner) if owner >= 0 else ("kind", kind)].append(row[p])
        mass = {
            "unit-sum": sum,
            "token-max": lambda group: max(group, default=0.0),
            "unit-mean": lambda group: sum(group) / max(len(group), 1),
        }[assign]
        units = [groups[("unit", u)] for u in range(len(layout.units))]
        out["units"].append([sum(unit) for unit in units])
        out["instruction"].append(sum(groups[("kind", Q)]))
        out["template"].append(sum(groups[("kind", T)]))
        out["generated"].append(sum(groups[("kind", G)]))
        out["source_rest"].append(sum(groups[("kind", S)]))
        out["total"].append(math.fsum(row))
        out["assigned_units"].append([mass(unit) for unit in units])
        out["assigned_instruction"].append(mass(groups[("kind", Q)]))
        out["assigned_generated"].append(mass(groups[("kind", G)]))
    return out


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, Layout]:
    prompt = draw(st.integers(0, 14))
    n_units = draw(st.integers(0, 4))
    kinds = draw(st.lists(st.sampled_from([T, Q, S]), min_size=prompt, max_size=prompt))
    owners = [draw(st.integers(-1, n_units - 1)) if kind == S and n_units else -1 for kind in kinds]
    tokens = draw(st.integers(0, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return causal(rng, tokens, prompt), make_layout(list(map(int, kinds)), owners, n_units)


@given(case=cases(), assign=st.sampled_from(get_args(Assign)))
@settings(max_examples=200)
def test_measure_agrees_with_the_slow_one(case: tuple[np.ndarray, Layout], assign: Assign) -> None:
    scores, layout = case
    masses = unit_masses(scores, layout, assign)
    expected = slow(scores, layout, assign)
    assert len(masses) == len(scores)
    for name in FIELDS:
        got = getattr(masses, name)
        shape = (len(scores), len(layout.units)) if "units" in name else (len(scores),)
        assert got.dtype == np.float64
        np.testing.assert_allclose(
            got, np.array(expected[name]).reshape(shape), rtol=1e-12, err_msg=name
        )


@given(case=cases(), assign=st.sampled_from(get_args(Assign)), data=st.data())
@settings(max_examples=200)
def test_blocks_are_bit_identical(
    case: tuple[np.ndarray, Layout], assign: Assign, data: st.DataObject
) -> None:
    scores, layout = case
    prompt, tokens = layout.prompt_length, len(scores)
    cuts = sorted(data.draw(st.lists(st.integers(0, tokens), max_size=4)))
    whole = unit_masses(scores, layout, assign)
    blocks = [
        # Only as wide as the rows need: what follows is zero.
        unit_masses(scores[a:b, : prompt + max(b - 1, 0)], layout, assign, first=a)
        for a, b in zip([0, *cuts], [*cuts, tokens], strict=True)
    ]
    joined = Masses.concatenate(blocks)
    for name in [*FIELDS, "source"]:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name), err_msg=name)


def test_blocks_of_a_long_row_are_bit_identical() -> None:
    rng = np.random.default_rng(0)
    prompt, tokens = 3000, 90
    kinds = rng.integers(0, 3, prompt)
    owners = np.where((kinds == S) & (rng.random(prompt) < 0.9), rng.integers(0, 40, prompt), -1)
    layout = make_layout(kinds.tolist(), owners.tolist())
    scores = causal(rng, tokens, prompt).astype(np.float32)
    for assign in get_args(Assign):
        whole = unit_masses(scores, layout, assign)
        ids, texts, ranges = range(tokens), ["x"] * tokens, [(0, 1)] * tokens
        traces = token_traces(whole, layout, ids, texts, ranges)
        for a, b in ((0, 1), (1, 16), (16, 90)):
            block = unit_masses(scores[a:b, : prompt + b], layout, assign, first=a)
            for name in [*FIELDS, "source"]:
                np.testing.assert_array_equal(getattr(block, name), getattr(whole, name)[a:b])
            args = (ids[a:b], texts[a:b], ranges[a:b])
            assert token_traces(block, layout, *args, first=a) == traces[a:b]


def test_the_rules_differ_as_they_should() -> None:
    # Unit 0 has the largest sum, unit 1 the largest token, unit 2 the largest mean.
    layout = make_layout([S] * 9, [0, 0, 0, 0, 1, 1, 1, 2, -1])
    scores = np.array([[0.25, 0.25, 0.25, 0.25, 0.5, 0.1, 0.0, 0.4, 0.0]])
    best = {
        assign: int(unit_masses(scores, layout, assign).assigned_units[0].argmax())
        for assign in get_args(Assign)
    }
    assert best == {"unit-sum": 0, "token-max": 1, "unit-mean": 2}


def test_token_traces() -> None:
    layout = make_layout([T, Q, S, S, S], [-1, -1, 0, 1, -1])
    scores = np.array(
        [
            [0.1, 0.2, 0.1, 0.3, 0.3, 0.0, 0.0],
            [0.0, 0.0, 2.0, 2.0, 0.0, 4.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    one, two, three = token_traces(
        unit_masses(scores, layout), layout, [7, 8, 9], ["a", "b", ""], [(0, 1), (1, 2), (2, 2)]
    )
    assert (one.index, one.id, one.text, one.start, one.end) == (0, 7, "a", 0, 1)
    assert (one.unit, one.confidence) == ("u1", 0.3)
    assert one.grounding == pytest.approx(0.7)
    assert (one.template_mass, one.instruction_mass) == pytest.approx((0.1, 0.2))
    assert (two.unit, two.confidence, two.grounding, two.generated_mass) == ("u0", 2.0, 0.5, 0.5)
    assert (three.unit, three.confidence, three.grounding, three.generated_mass) == (None, 0, 0, 0)


@given(case=cases(), assign=st.sampled_from(get_args(Assign)))
@settings(max_examples=50)
def test_shares_sum_to_one(case: tuple[np.ndarray, Layout], assign: Assign) -> None:
    scores, layout = case
    n = len(scores)
    masses = unit_masses(scores, layout, assign)
    for t, trace in enumerate(token_traces(masses, layout, [0] * n, [""] * n, [(0, 0)] * n)):
        parts = (
            trace.grounding + trace.instruction_mass + trace.template_mass + trace.generated_mass
        )
        assert parts == pytest.approx(1.0 if scores[t].any() else 0.0)
        assert (trace.unit is None) == (not layout.units or trace.confidence == 0)


def test_edges() -> None:
    empty = make_layout([], [])
    assert unit_masses(np.zeros((0, 0)), empty).units.shape == (0, 0)
    assert unit_masses(np.zeros((1, 0)), empty, "token-max").total.tolist() == [0.0]
    no_units = make_layout([T, Q], [-1, -1])
    masses = unit_masses(np.array([[0.5, 0.5]]), no_units)
    assert masses.units.shape == (1, 0)
    (trace,) = token_traces(masses, no_units, [1], ["x"], [(0, 1)])
    assert (trace.unit, trace.confidence, trace.grounding) == (None, 0.0, 0.0)
    for assign in get_args(Assign):  # a unit that carries no position has no mass
        masses = unit_masses(np.ones((1, 1)), make_layout([S], [1], 2), assign)
        assert masses.assigned_units.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_illegal_scores_are_named(value: float) -> None:
    scores = np.zeros((2, 4))
    scores[1, 2] = value
    with pytest.raises(InputError, match=r"generated token 6 at context position 2"):
        unit_masses(scores, make_layout([S] * 3, [0] * 3), first=5)


def test_shapes_rules_and_causality_are_checked() -> None:
    layout = make_layout([S] * 3, [0] * 3)
    with pytest.raises(InputError, match=r"shape \(2, 2\)"):
        unit_masses(np.zeros((2, 2)), layout)
    with pytest.raises(InputError, match=r"'sum'.*unit-sum"):
        unit_masses(np.zeros((2, 3)), layout, "sum")  # type: ignore[arg-type]
    scores = np.ones((1, 4))
    with pytest.raises(InputError, match="token 0 has a score at context position 3"):
        unit_masses(scores, layout)
    assert unit_masses(scores, layout, first=1).generated.tolist() == [1.0]
    with pytest.raises(InputError, match="1 rows of masses for 2 ids"):
        token_traces(unit_masses(scores, layout, first=1), layout, [1, 2], ["a"], [(0, 1)])
