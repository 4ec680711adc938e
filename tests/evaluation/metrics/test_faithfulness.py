"""Metrics of faithfulness: against hand-computed values, SciPy, and planted truths."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omnitrace import InputError
from omnitrace.ablation import leave_one_out, random_masks, sized_masks
from omnitrace.evaluation.metrics import faithfulness as fa

VALUES = hnp.arrays(
    np.float64, st.integers(2, 40), elements=st.integers(-4, 4).map(lambda n: n / 2)
)


@given(VALUES, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_spearman_is_scipys(a: np.ndarray, random: object) -> None:
    b = np.array([random.choice([-1.5, 0.0, 0.25, 2.0]) for _ in a])  # type: ignore[attr-defined]
    found = fa.spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_by_hand() -> None:
    assert fa.spearman(np.array([1, 2, 3]), np.array([9, 5, 7])) == pytest.approx(-0.5)
    assert math.isnan(fa.spearman(np.array([1.0]), np.array([2.0])))
    assert math.isnan(fa.spearman(np.zeros(0), np.zeros(0)))
    with pytest.raises(InputError, match="shapes"):
        fa.spearman(np.zeros(3), np.zeros(2))


@given(st.integers(2, 14), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=60)
def test_a_planted_linear_model_gives_lds_1_for_its_weights(
    units: int, spans: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(spans, units))
    masks = random_masks(units, 48, seed=seed)
    logprobs = masks @ weights.T - 7
    np.testing.assert_allclose(fa.lds(weights, masks, logprobs), 1, atol=1e-9)
    np.testing.assert_allclose(fa.lds(3 * weights, masks, logprobs), 1, atol=1e-9)
    np.testing.assert_allclose(fa.lds(-weights, masks, logprobs), -1, atol=1e-9)
    fit = random_masks(units, 64, seed=seed + 1000)
    singular = np.linalg.matrix_rank(np.column_stack([np.ones(64), fit])) <= units
    if not singular:
        np.testing.assert_allclose(fa.oracle_scores(fit, fit @ weights.T - 7), weights, atol=1e-8)


def test_random_scores_give_lds_0_where_size_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(8, 40, size=16)
    random, size, uniform, plain = [], [], [], []
    for example in range(60):
        weights = rng.normal(size=16) + 0.05 * sizes  # longer units matter more
        masks = sized_masks(sizes, 64, seed=example)
        logprobs = (masks @ weights)[:, None]
        controls = fa.control_scores(sizes, 1, seed=example)
        random += [fa.size_controlled_lds(rng.normal(size=(1, 16)), masks, logprobs, sizes)[0]]
        size += [fa.size_controlled_lds(controls["unit-size"], masks, logprobs, sizes)[0]]
        uniform += [fa.size_controlled_lds(controls["uniform"], masks, logprobs, sizes)[0]]
        loose = random_masks(16, 64, seed=example)
        plain += [fa.lds(controls["unit-size"], loose, (loose @ weights)[:, None])[0]]
    for found in (random, size, uniform):
        known = np.array(found)[~np.isnan(found)]  # with exactly one size, size predicts nothing
        if len(known):
            assert abs(known.mean()) < 3 * known.std() / np.sqrt(len(known)) + 0.03
    assert np.isnan(size).all()
    assert fa.defined(np.array(plain)).mean > 0.5  # what size alone reaches on random masks


def test_undefined_values_are_counted() -> None:
    masks = random_masks(5, 20, seed=0)
    scores = np.array([[1.0, 2, 3, 4, 5], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    logprobs = np.stack([masks @ scores[0], masks @ scores[0], np.full(20, -2.0)], axis=1)
    found = fa.lds(scores, masks, logprobs)
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1:]).all()
    assert fa.defined(found) == (pytest.approx(1), 1, 2)
    nothing = fa.defined(np.array([np.nan]))
    assert math.isnan(nothing.mean)
    assert nothing[1:] == (0, 1)
    # A third of a unit thrice is one whole: sums that differ by rounding only are ties.
    thirds = np.full((1, 5), 1 / 3)
    kept = masks.sum(axis=1)
    expected = scipy.stats.spearmanr(kept, logprobs[:, 0]).statistic
    assert fa.lds(thirds, masks, logprobs[:, :1])[0] == pytest.approx(expected)


def test_the_oracle_is_the_best_additive_fit_on_other_masks() -> None:
    rng = np.random.default_rng(1)
    fit, masks = random_masks(9, 60, seed=1), random_masks(9, 20, seed=2)

    def outcome(v: np.ndarray) -> np.ndarray:
        return np.stack([v @ np.arange(9.0) + 2 * v[:, 0] * v[:, 1], v.sum(axis=1) ** 2.0], axis=1)

    found = fa.oracle_scores(fit, outcome(fit))
    design = np.column_stack([np.ones(60), fit])
    for span in range(2):
        expected = scipy.linalg.lstsq(design, outcome(fit)[:, span])[0][1:]
        np.testing.assert_allclose(found[span], expected, atol=1e-9)
    other = np.array([m for m in masks if m.tobytes() not in {v.tobytes() for v in fit}])
    oracle = fa.oracle_lds(fit, outcome(fit), other, outcome(other))
    worse = fa.lds(rng.normal(size=(2, 9)), other, outcome(other))
    assert (oracle > worse).all()
    assert fa.share_of_oracle(oracle, oracle) == pytest.approx(1)
    assert fa.share_of_oracle(np.array([0.2, np.nan]), np.array([0.5, 0.9])) == pytest.approx(0.4)
    assert math.isnan(fa.share_of_oracle(np.array([np.nan]), np.array([0.9])))
    both = np.stack([other[0], fit[3]])
    with pytest.raises(InputError, match="evaluation mask 1 is among the masks"):
        fa.oracle_lds(fit, outcome(fit), both, outcome(both))
    with pytest.raises(InputError, match="9 masks for 9 units and a constant"):
        fa.oracle_scores(fit[:9], outcome(fit[:9]))


def test_masks_of_another_size_are_refused_as_size_controlled() -> None:
    masks = random_masks(8, 40, seed=0)
    with pytest.raises(InputError, match=r"the masks keep between .* tokens"):
        fa.size_controlled_lds(np.ones((1, 8)), masks, np.zeros((40, 1)), np.full(8, 5))


def test_top_masks_by_hand() -> None:
    scores = np.array([[0.1, 0.7, 0.2, 0.7], [-1.0, -2.0, -3.0, -0.5]])
    assert (fa.only_top_masks(scores, 1) == [[0, 1, 0, 0], [0, 0, 0, 1]]).all()
    assert (fa.only_top_masks(scores, 3) == [[0, 1, 1, 1], [1, 1, 0, 1]]).all()
    assert (fa.without_top_masks(scores, 3) == ~fa.only_top_masks(scores, 3)).all()
    assert not fa.without_top_masks(scores, 9).any()
    with pytest.raises(InputError, match="k is 0"):
        fa.only_top_masks(scores, 0)
    with pytest.raises(InputError, match=r"the scores have nan at \[0, 1\]"):
        fa.only_top_masks(np.array([[0.0, np.nan]]), 1)


def test_curves_by_hand() -> None:
    scores = np.array([0.1, 0.7, 0.2])
    deletion = fa.curve_masks(scores, "deletion")
    assert (deletion == [[1, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0]]).all()
    assert (fa.curve_masks(scores, "insertion") == ~deletion).all()
    curve = np.array([-1.0, -4.0, -5.0, -7.0])
    assert fa.area(curve, "deletion") == pytest.approx((-2.5 - 4.5 - 6) / 3)
    normal = (np.array([1 + 0.5, 0.5 + 2 / 6, 2 / 6 + 0]) / 2).mean()
    assert fa.area(curve, "deletion", normalised=True) == pytest.approx(normal)
    assert fa.area(curve[::-1], "insertion", normalised=True) == pytest.approx(normal)
    # Where taking everything away helps, the ends are not confused.
    assert fa.area(np.array([0.0, 1.0]), "deletion", normalised=True) == pytest.approx(0.5)
    assert fa.area(np.array([0.0, 0, 2.0]), "deletion", normalised=True) == pytest.approx(0.75)
    for undefined in (np.array([1.0]), np.array([1.0, np.nan, 2.0])):
        assert math.isnan(fa.area(undefined, "deletion"))
    assert math.isnan(fa.area(np.array([1.0, 2, 1]), "insertion", normalised=True))
    with pytest.raises(InputError, match="the curve is 'removal'"):
        fa.area(curve, "removal")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the curve is 'removal'"):
        fa.curve_masks(scores, "removal")  # type: ignore[arg-type]


@given(hnp.arrays(np.float64, st.integers(2, 12), elements=st.floats(-50, 0)))
def test_the_area_is_the_trapezoidal_rule(curve: np.ndarray) -> None:
    expected = scipy.integrate.trapezoid(curve, dx=1 / (len(curve) - 1))
    assert fa.area(curve, "deletion") == pytest.approx(expected, abs=1e-9)
    assert fa.area(curve, "insertion") == pytest.approx(expected, abs=1e-9)


def test_calibration_is_the_slope_of_a_line() -> None:
    rng = np.random.default_rng(3)
    masks = random_masks(7, 30, seed=3)
    scores = rng.normal(size=(2, 7))
    logprobs = rng.normal(size=(30, 2)) + 2 * masks @ scores.T
    found = fa.calibration(scores, masks, logprobs)
    for span in range(2):
        line = scipy.stats.linregress(masks @ scores[span], logprobs[:, span])
        assert found[span] == pytest.approx(line.slope)
    assert np.isnan(fa.calibration(np.zeros((1, 7)), masks, logprobs[:, :1])).all()


def test_r_squared_by_hand() -> None:
    measured = np.array([[1.0, 2, 3], [1, 2, 3], [1, 2, 3], [2, 2, 2], [1, np.nan, 3]])
    predicted = np.array([[1.0, 2, 3], [2, 2, 2], [3, 2, 1], [1, 2, 3], [1, 9, 2]])
    found = fa.r_squared(predicted, measured)
    np.testing.assert_allclose(found[[0, 1, 2, 4]], [1, 0, -3, 0.5])
    assert math.isnan(found[3])
    with pytest.raises(InputError, match="effects of shapes"):
        fa.r_squared(predicted[0], measured[0])


def test_the_effects_of_a_linear_model_are_its_weights() -> None:
    weights = np.array([[0.5, 2.0, -1.0]])
    masks = leave_one_out(3)
    single = (weights.sum() - masks @ weights[0])[None]
    np.testing.assert_allclose(fa.r_squared(weights, single), 1)


@pytest.mark.parametrize(
    ("scores", "masks", "logprobs", "said"),
    [
        (np.ones(3), np.ones((4, 3), bool), np.zeros((4, 1)), "scores of shape"),
        (np.ones((1, 2)), np.ones((4, 3), bool), np.zeros((4, 1)), "masks of shape"),
        (np.ones((1, 3)), np.ones((4, 3), bool), np.zeros((4, 2)), "logprobs of shape"),
        (np.ones((1, 3)), np.ones((4, 3), bool), np.full((4, 1), -np.inf), "logprobs have -inf"),
    ],
)
def test_bad_arrays_are_refused(
    scores: np.ndarray, masks: np.ndarray, logprobs: np.ndarray, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        fa.lds(scores, masks, logprobs)
