"""Metrics against hand-computed values, slow references, scikit-learn and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from omnitrace.errors import InputError
from omnitrace.evaluation.metrics.agreement import (
    CalibrationBin,
    SetScores,
    abstention_auroc,
    abstention_f1,
    average_precision,
    box_iou,
    calibration_bins,
    calibration_error,
    cite_scores,
    interval_iou,
    micro_scores,
    modality_shares,
    option_consistency,
    position_bias,
    set_scores,
    time_bins,
    time_scores,
    top_one,
)

sets = st.frozensets(st.integers(0, 8))
flags = st.lists(st.booleans(), min_size=1, max_size=12)


def test_sets_by_hand() -> None:
    assert set_scores({"a", "b", "c"}, {"b", "c", "d", "e"}) == SetScores(2 / 3, 2 / 4, 4 / 7)
    assert set_scores(set(), set()) == SetScores(1, 1, 1)
    assert set_scores({"a"}, set()) == SetScores(0, 0, 0)
    assert set_scores(set(), {"a"}) == SetScores(0, 0, 0)


@pytest.mark.parametrize(
    ("named", "shown", "expected"),
    [
        # One of two cells that show the object is enough, and both are right.
        ({"a"}, [{"a", "b"}], SetScores(1, 1, 1)),
        ({"a", "b"}, [{"a", "b"}], SetScores(1, 1, 1)),
        ({"a", "c"}, [{"a", "b"}], SetScores(1 / 2, 1, 2 / 3)),
        ({"c"}, [{"a", "b"}], SetScores(0, 0, 0)),
        # Of two sources both must be found.
        ({"a"}, [{"a", "b"}, {"d"}], SetScores(1, 1 / 2, 2 / 3)),
        ({"a", "d"}, [{"a", "b"}, {"d"}], SetScores(1, 1, 1)),
        ({"a", "b", "c"}, [{"a", "b"}, {"d"}], SetScores(2 / 3, 1 / 2, 4 / 7)),
        # A unit may show both; a source that no unit shows can only be missed.
        ({"a"}, [{"a"}, {"a", "b"}], SetScores(1, 1, 1)),
        ({"a"}, [{"a"}, set()], SetScores(1, 1 / 2, 2 / 3)),
        (set(), [{"a"}], SetScores(0, 0, 0)),
        # Without evidence nothing is to be named.
        (set(), [], SetScores(1, 1, 1)),
        ({"a"}, [], SetScores(0, 0, 0)),
    ],
)
def test_citations_by_hand(named: set[str], shown: list[set[str]], expected: SetScores) -> None:
    found = cite_scores(named, shown)
    assert (found.precision, found.recall) == (expected.precision, expected.recall)
    assert found.f1 == pytest.approx(expected.f1)


@given(sets, st.lists(st.frozensets(st.integers(0, 8), min_size=1), min_size=1, max_size=3))
def test_naming_what_shows_it_is_never_worse(
    named: frozenset[int], shown: list[frozenset[int]]
) -> None:
    everything = frozenset().union(*shown)
    assert cite_scores(everything, shown) == SetScores(1, 1, 1)
    before, after = cite_scores(named, shown), cite_scores(named | everything, shown)
    assert before.f1 <= after.f1 + 1e-12
    assert 0 <= before.f1 <= 1
    # Where each source is shown by one unit of its own, it is the F1 of sets.
    single = [frozenset({unit}) for unit in everything]
    assert cite_scores(named, single).f1 == pytest.approx(set_scores(named, everything).f1)


@given(sets, sets)
def test_sets_equal_scikit_learn(predicted: frozenset[int], truth: frozenset[int]) -> None:
    found = set_scores(predicted, truth)
    said = [i in predicted for i in range(9)]
    true = [i in truth for i in range(9)]
    empty = 1.0 if not predicted and not truth else 0.0
    assert found.precision == pytest.approx(precision_score(true, said, zero_division=empty))
    assert found.recall == pytest.approx(recall_score(true, said, zero_division=empty))
    assert found.f1 == pytest.approx(f1_score(true, said, zero_division=empty))


@given(st.lists(st.tuples(sets, sets), max_size=6))
def test_micro_is_the_score_of_the_joined_sets(pairs: list[tuple[frozenset[int], ...]]) -> None:
    counts = [(len(p & t), len(p), len(t)) for p, t in pairs]
    said = {(i, x) for i, (p, _) in enumerate(pairs) for x in p}
    true = {(i, x) for i, (_, t) in enumerate(pairs) for x in t}
    assert micro_scores(counts) == set_scores(said, true)


@pytest.mark.parametrize(
    ("interval", "bins"),
    [
        ((0.0, 1.0), {0}),
        ((0.96, 2.0), {1}),
        ((0.5, 1.5), {0, 1}),
        ((0.4, 1.5), {0}),
        ((0.4, 1.6), {0, 1}),
        ((0.9, 1.1), {0, 1}),
        ((2.2, 2.3), {2}),
        ((1.0, 3.5), {1, 2}),
        ((1.0, 3.51), {1, 2, 3}),
        ((2.0, 2.0), set()),
    ],
)
def test_seconds_of_an_interval(interval: tuple[float, float], bins: set[int]) -> None:
    assert time_bins([interval]) == bins


def test_time_scores_by_hand() -> None:
    # Seconds 1, 2, 3 against 2, 3, 4.
    assert time_scores([(1, 2), (2, 4)], [(2, 5)]) == SetScores(2 / 3, 2 / 3, 2 / 3)
    assert time_scores([(1, 2), (2, 4)], [(2, 5)], width=2.0).f1 == pytest.approx(2 / 3)
    assert time_scores([], []).f1 == 1.0
    with pytest.raises(InputError, match="bins of 0 seconds"):
        time_bins([(0, 1)], 0)


whole_seconds = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 4)).map(lambda v: (v[0], v[0] + v[1])), max_size=4
)


@given(whole_seconds, whole_seconds)
def test_whole_seconds_are_their_bins(
    predicted: list[tuple[int, int]], truth: list[tuple[int, int]]
) -> None:
    said = {second for a, b in predicted for second in range(a, b)}
    true = {second for a, b in truth for second in range(a, b)}
    assert time_bins(predicted) == said
    assert time_scores(predicted, truth) == set_scores(said, true)
    expected = len(said & true) / len(said | true) if said | true else None
    assert interval_iou(predicted, truth) == (None if expected is None else pytest.approx(expected))


def test_intersection_over_union_by_hand() -> None:
    assert interval_iou([(0, 2)], [(1, 4)]) == pytest.approx(1 / 4)
    assert interval_iou([(0, 1), (3, 4)], [(0, 4)]) == pytest.approx(2 / 4)
    assert interval_iou([(0, 1)], []) == 0
    assert interval_iou([], []) is None
    assert box_iou([(0, 0, 2, 2)], [(1, 1, 3, 3)]) == pytest.approx(1 / 7)
    assert box_iou([(0, 0, 2, 2), (0, 0, 2, 2)], [(0, 0, 2, 2)]) == 1
    assert box_iou([(0, 0, 1, 1)], [(5, 5, 6, 6)]) == 0


corner = st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda v: (v[0], v[0] + v[1]))
boxes = st.lists(st.tuples(corner, corner), max_size=4)


@given(boxes, boxes)
def test_boxes_equal_counted_pixels(
    predicted: list[tuple[tuple[int, int], ...]], truth: list[tuple[tuple[int, int], ...]]
) -> None:
    def pixels(found: list[tuple[tuple[int, int], ...]]) -> set[tuple[int, int]]:
        return {(i, j) for x, y in found for i in range(*x) for j in range(*y)}

    said, true = pixels(predicted), pixels(truth)
    found = box_iou(*([(x[0], y[0], x[1], y[1]) for x, y in each] for each in (predicted, truth)))
    assert found == (pytest.approx(len(said & true) / len(said | true)) if said | true else None)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=9))
def test_average_precision_equals_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = [float(s) for s, _ in pairs], [t for _, t in pairs]
    found = average_precision(np.array(scores), np.array(truth))
    if not any(truth):
        assert found is None
    else:
        assert found == pytest.approx(average_precision_score(truth, scores))


def test_average_precision_by_hand() -> None:
    # True at ranks 1 and 3 of 4: (1/1 + 2/3) / 2; constant scores are one step of precision 1/2.
    truth = np.array([True, False, True, False])
    assert average_precision(np.array([4.0, 3, 2, 1]), truth) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.ones(4), truth) == 0.5


def test_the_first_unit() -> None:
    truth = np.array([True, False, True])
    assert top_one(np.array([0.5, 0.2, 0.1]), truth) == 1
    assert top_one(np.array([0.1, 0.2, 0.1]), truth) == 0
    assert top_one(np.array([0.2, 0.2, 0.1]), truth) == 0.5
    assert top_one(np.zeros(3), truth) == 0
    assert top_one(np.array([0.5, 0.2, 0.1]), np.zeros(3, dtype=bool)) is None


@given(flags, st.data())
def test_abstention_equals_scikit_learn(truth: list[bool], data: st.DataObject) -> None:
    n = len(truth)
    said = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    grounding = data.draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n))
    if any(truth) or any(said):
        assert abstention_f1(said, truth) == pytest.approx(f1_score(truth, said, zero_division=0))
    else:
        assert abstention_f1(said, truth) is None
    if 0 < sum(truth) < n:
        expected = roc_auc_score(truth, [1 - each for each in grounding])
        assert abstention_auroc(grounding, truth) == pytest.approx(expected)
    else:
        assert abstention_auroc(grounding, truth) is None


def test_abstention_by_hand() -> None:
    # Of the pairs (without, with evidence): 0.1 < 0.4, 0.1 < 0.9, 0.4 = 0.4, 0.4 < 0.9.
    assert abstention_auroc([0.1, 0.4, 0.4, 0.9], [True, True, False, False]) == 3.5 / 4
    assert abstention_f1([True, True, False], [True, False, True]) == 0.5
    with pytest.raises(InputError, match="2 predictions for 1 labels"):
        abstention_f1([True, True], [True])
    with pytest.raises(InputError, match="2 values for 1 labels"):
        abstention_auroc([0.5, 0.5], [True])


def test_option_consistency() -> None:
    assert option_consistency([0.2, 0.7, 0.1], 1) == 1
    assert option_consistency([0.2, 0.7, 0.1], 0) == 0
    assert option_consistency([0.4, 0.4, 0.1], 0) == 0.5
    assert option_consistency([0.0, 0.0], 0) is None
    with pytest.raises(InputError, match=r"option 3 was chosen. Legal: 0 to 2"):
        option_consistency([1, 2, 3], 3)


def test_modality_shares() -> None:
    assert modality_shares([1, 2, 1], ["text", "image", "text"]) == {"text": 0.5, "image": 0.5}
    assert modality_shares([0, 0], ["text", "image"]) is None


def test_calibration_by_hand() -> None:
    bins = calibration_bins([0.0, 0.04, 0.5, 1.0], [0.1, 0.0, 1.0, 1.0], bins=2)
    assert bins == [CalibrationBin(0, 0.5, 2, 0.02, 0.05), CalibrationBin(0.5, 1, 2, 0.75, 1.0)]
    assert calibration_error(bins) == pytest.approx((2 * 0.03 + 2 * 0.25) / 4)
    assert calibration_error([]) is None
    with pytest.raises(InputError, match="a share is outside"):
        calibration_bins([1.5], [1.0])
    with pytest.raises(InputError, match="1 predicted and 2 labelled shares in 10 bins"):
        calibration_bins([1.0], [1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_position_bias_equals_scipy(positions: list[float]) -> None:
    found = position_bias(positions)
    assert found is not None
    assert found.distance == pytest.approx(kstest(positions, "uniform").statistic)
    assert found.mean == pytest.approx(math.fsum(positions) / len(positions))
    assert list(found.positions) == sorted(positions)
    assert found.cdf[-1] == 1


def test_position_bias_by_hand() -> None:
    found = position_bias([0.25, 0.75])
    assert found is not None
    assert (found.cdf, found.mean, found.distance) == ((0.5, 1.0), 0.5, 0.25)
    assert position_bias([]) is None
    with pytest.raises(InputError, match=r"positions from -0\.5 to 1"):
        position_bias([1, -0.5])
