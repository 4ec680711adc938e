"""Trajectories: figures that can be worked out by hand, and what they must not depend on."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from omnitrace import InputError, Trace
from omnitrace.analysis import TrajectoryConfig, steps_of, trajectory
from omnitrace.types import Effect
from tests.helpers.sample_traces import multimodal_trace
from tests.helpers.trajectory_steps import steps

vectors_ = arrays.arrays(
    np.float64,
    st.tuples(st.integers(2, 7), st.integers(1, 6)),
    elements=st.floats(0, 1).map(lambda x: round(x, 3)),
)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return multimodal_trace()


def with_effects(trace: Trace, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    effects = [
        {unit.id: Effect(float(rng.normal())) for unit in trace.units[:-1]} for _ in trace.spans
    ]
    return trace.with_effects(effects)


def test_a_path_worked_out_by_hand() -> None:
    found = trajectory(steps([[0, 0], [3, 4], [3, 0], [6, 0]]))
    assert found.path_length == pytest.approx(5 + 4 + 3)
    assert found.displacement == pytest.approx(6)
    assert found.tortuosity == pytest.approx(2)
    # The first step rests on nothing; the others on u1, u0, u0.
    assert found.concentration == pytest.approx((4 / 7 + 1 + 1) / 3)
    assert found.unsteadiness == pytest.approx(np.std([4 / 7, 1, 1]))
    assert found.switching == pytest.approx(1 / 2)
    assert (found.dominant, found.dominance) == ("u0", pytest.approx(2 / 3))
    assert found.fixation == pytest.approx(found.concentration / 2)
    assert found.wandering == pytest.approx((1 - found.concentration) / 2)
    assert found.mode == "neither"


def test_fixation_and_wandering() -> None:
    fixed = trajectory(steps([[0.9, 0.1, 0], [0.8, 0.1, 0.1], [0.9, 0, 0.1]]))
    assert (fixed.mode, fixed.dominant, fixed.switching) == ("fixation", "u0", 0)
    lost = trajectory(steps([[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]]))
    assert (lost.mode, lost.switching) == ("wandering", 1)


def test_what_is_undefined() -> None:
    none = trajectory(steps(np.zeros((0, 3))))
    one = trajectory(steps([[0.5, 0.5]]))
    for each in (none, one):
        assert each.path_length is each.tortuosity is each.switching is each.mode is None
    assert (none.concentration, one.concentration) == (None, 0.5)
    assert (none.dominant, one.dominant) == (None, "u0")  # the first of two that are equal
    still = trajectory(steps([[0.5, 0.5]] * 3))
    assert (still.path_length, still.displacement, still.tortuosity) == (0, 0, None)
    back = trajectory(steps([[1, 0], [0, 1], [1, 0]]))
    assert back.tortuosity == math.inf
    assert back.figures()["tortuosity"] is None
    assert back.figures()["returns"] is True
    resting = trajectory(steps(np.zeros((3, 2))))
    assert resting.concentration is resting.dominant is None
    assert trajectory(steps(np.zeros((3, 0)))).path_length == 0


@given(vectors=vectors_)
def test_principal_components_keep_lengths_where_three_are_enough(vectors: np.ndarray) -> None:
    found = trajectory(steps(vectors))
    length = np.linalg.norm(np.diff(vectors, axis=0), axis=1).sum()
    displacement = np.linalg.norm(vectors[-1] - vectors[0])
    assert found.path.shape == (len(vectors), min(3, *vectors.shape))
    assert found.path_length is not None
    if min(len(vectors) - 1, vectors.shape[1]) <= 3:
        assert found.path_length == pytest.approx(length, abs=1e-9)
        assert found.displacement == pytest.approx(displacement, abs=1e-9)
    else:
        assert found.path_length <= length + 1e-9
    if found.tortuosity is not None:
        assert found.tortuosity >= 1
        if len(vectors) == 2:
            assert found.tortuosity == pytest.approx(1)


@given(vectors=vectors_, seed=st.integers(0, 99))
def test_the_order_of_the_units_is_of_no_account(vectors: np.ndarray, seed: int) -> None:
    vectors = vectors + np.arange(vectors.shape[1]) * 1e-5  # no ties
    order = np.random.default_rng(seed).permutation(vectors.shape[1])
    one, other = trajectory(steps(vectors)), trajectory(steps(vectors[:, order]))
    for name in ("path_length", "displacement", "concentration", "switching", "fixation"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9)


@given(vectors=vectors_, share=st.floats(0, 1))
def test_nothing_before_the_end_knows_what_comes(vectors: np.ndarray, share: float) -> None:
    whole = steps(vectors)
    cut = whole.until(share)
    assert (cut.elapsed <= share + 1e-9).all()
    assert len(cut) == int((whole.elapsed <= share + 1e-12).sum())
    changed = vectors.copy()
    changed[len(cut) :] = changed[len(cut) :][::-1] * 2 + 1
    assert trajectory(steps(changed).until(share)).figures() == trajectory(cut).figures()
    assert trajectory(whole.until(1.0)).figures() == trajectory(whole).figures()


# --- what a step is -------------------------------------------------------------------------------


def test_a_span_rests_on_its_shares_of_the_mass(trace: Trace) -> None:
    raw = steps_of(trace, TrajectoryConfig(scale="raw"))
    assert raw.source == "masses"
    assert raw.units == tuple(unit.id for unit in trace.units)
    masses = trace.masses()
    for row, span in zip(raw.vectors, trace.spans, strict=True):
        tokens = slice(span.token_start, span.token_end)
        expected = masses.units[tokens].sum(axis=0) / masses.total[tokens].sum()
        np.testing.assert_allclose(row, expected, rtol=1e-12)
        for support in span.supports:
            assert row[trace.units.index(support.unit)] == pytest.approx(support.mass)
    shares = steps_of(trace).vectors
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(
        shares, raw.vectors / raw.vectors.sum(axis=1, keepdims=True), rtol=1e-12
    )
    assert raw.elapsed[-1] == 1
    assert (np.diff(raw.elapsed) > 0).all()


def test_a_span_rests_on_its_effects_where_there_are_some(trace: Trace) -> None:
    measured = with_effects(trace)
    raw = steps_of(measured, TrajectoryConfig(scale="raw"))
    assert raw.source == "effects"
    for row, span in zip(raw.vectors, measured.spans, strict=True):
        assert span.effects is not None
        assert row[-1] == 0  # a unit without an effect
        assert row[:-1].tolist() == [effect.value for effect in span.effects.values()]
    shares = steps_of(measured).vectors
    np.testing.assert_allclose(np.maximum(shares, 0).sum(axis=1), 1)
    windows = steps_of(measured, TrajectoryConfig(by="tokens"))
    assert windows.source == "masses"
    half = (dataclasses.replace(measured.spans[0], effects=None), *measured.spans[1:])
    assert steps_of(dataclasses.replace(measured, spans=half)).source == "masses"


@pytest.mark.parametrize("window", [1, 4, 1000])
def test_windows_of_tokens(trace: Trace, window: int) -> None:
    found = steps_of(trace, TrajectoryConfig(by="tokens", window=window, scale="raw"))
    tokens = [t for span in trace.spans for t in range(span.token_start, span.token_end)]
    assert len(found) == math.ceil(len(tokens) / window)
    ends = [min(window * (i + 1), len(tokens)) / len(tokens) for i in range(len(found))]
    assert found.elapsed.tolist() == pytest.approx(ends)
    masses = trace.masses()
    first = tokens[:window]
    np.testing.assert_allclose(
        found.vectors[0], masses.units[first].sum(axis=0) / masses.total[first].sum()
    )


def test_only_the_largest_entries_are_kept(trace: Trace) -> None:
    whole = steps_of(trace, TrajectoryConfig(scale="raw"))
    top = steps_of(trace, TrajectoryConfig(scale="raw", top=3))
    for row, kept in zip(whole.vectors, top.vectors, strict=True):
        largest = np.argsort(-row, kind="stable")[:3]
        assert np.flatnonzero(kept).tolist() == sorted(largest.tolist())
        assert (kept[largest] == row[largest]).all()


def test_one_section_only(trace: Trace) -> None:
    spans = tuple(
        dataclasses.replace(span, section="thought" if span.index < 3 else "answer")
        for span in trace.spans
    )
    trace = dataclasses.replace(trace, spans=spans)
    both = steps_of(trace, TrajectoryConfig(scale="raw"))
    for section, rows in (("thought", slice(0, 3)), ("answer", slice(3, None))):
        found = steps_of(trace, TrajectoryConfig(section=section, scale="raw"))  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.vectors, both.vectors[rows])
        assert found.elapsed[-1] == 1
    windows = TrajectoryConfig(by="tokens", window=1, section="answer")
    count = sum(span.token_end - span.token_start for span in spans[3:])
    assert len(steps_of(trace, windows)) == count


def test_an_empty_trace_has_no_steps(trace: Trace) -> None:
    empty = dataclasses.replace(trace, spans=())
    for by in ("span", "tokens"):
        found = trajectory(empty, TrajectoryConfig(by=by))  # type: ignore[arg-type]
        assert len(found.steps) == 0
        assert found.mode is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "word"}, "by is 'word'.*'span' or 'tokens'"),
        ({"section": "aside"}, "section is 'aside'"),
        ({"scale": "log"}, "scale is 'log'"),
        ({"window": 0}, "window is 0"),
        ({"top": 1.5}, r"top is 1\.5"),
        ({"window": True}, "window is True"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrajectoryConfig(**options)
