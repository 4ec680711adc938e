"""Failure prediction: by hand, against scikit-learn, and blind to what comes later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from omnitrace import InputError
from omnitrace.analysis import predict_failure, read_outcomes, trajectory
from omnitrace.analysis.trajectories import FIGURES
from omnitrace.evaluation.metrics.agreement import auroc
from tests.helpers.trajectory_steps import steps

STRAIGHT = [[1.0, 0, 0], [0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0], [0.6, 0.4, 0]]
WINDING = [[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4], [0.4, 0.3, 0.3], [0.3, 0.4, 0.3]]


@given(
    scores=st.lists(st.integers(0, 5), min_size=2, max_size=30),
    data=st.data(),
)
def test_the_area_under_the_curve_is_that_of_scikit_learn(
    scores: list[int], data: st.DataObject
) -> None:
    truth = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    found = auroc(scores, truth)
    if len(set(truth)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(roc_auc_score(truth, scores))


def test_infinite_scores_are_the_largest() -> None:
    assert auroc([np.inf, 2.0, np.inf, 1.0], [True, True, False, False]) == 2.5 / 4
    with pytest.raises(InputError, match="2 values for 1 labels"):
        auroc([1.0, 2.0], [True])


def test_winding_paths_are_told_from_straight_ones() -> None:
    some = [steps(STRAIGHT)] * 6 + [steps(WINDING)] * 6
    found = predict_failure(some, [True] * 6 + [False] * 6, shares=(0.2, 0.6, 1.0), draws=50)
    by = {(each.figure, each.elapsed): each for each in found}
    assert [(e.figure, e.elapsed) for e in found] == [
        (figure, share) for share in (0.2, 0.6, 1.0) for figure in FIGURES
    ]
    early = by["tortuosity", 0.2]  # one step has ended
    assert (early.wrong, early.right, early.undefined) == (0, 0, 12)
    assert early.auc.count == 0
    assert early.figures()["auc"]["value"] is None
    late = by["tortuosity", 1.0]
    assert (late.wrong, late.right, late.undefined) == (6, 6, 0)
    assert (late.auc.value, late.auc.low, late.auc.high) == (1, 1, 1)
    assert by["fixation", 1.0].auc.value == 0
    assert by["wandering", 0.6].auc.value == 1
    json.dumps([each.figures() for each in found], allow_nan=False)


def test_figures_are_of_the_steps_that_have_ended() -> None:
    rng = np.random.default_rng(0)
    some = [steps(rng.dirichlet(np.ones(4), size=8)) for _ in range(20)]
    right = rng.random(20) < 0.5
    (found,) = predict_failure(some, right, shares=(0.5,), figures=("tortuosity",), draws=20)
    values = [trajectory(steps(each.vectors[:4])).tortuosity for each in some]
    assert found.auc.value == pytest.approx(roc_auc_score(~right, values))
    assert found.auc.low <= found.auc.value <= found.auc.high
    again = predict_failure(some, right, shares=(0.5,), figures=("tortuosity",), draws=20)
    assert again == [found]


def test_bad_questions() -> None:
    some = [steps(STRAIGHT)] * 3
    with pytest.raises(InputError, match="2 outcomes for 3 responses"):
        predict_failure(some, [True, False])
    with pytest.raises(InputError, match="all of 3 responses are right"):
        predict_failure(some, [True] * 3)
    with pytest.raises(InputError, match="there are no responses"):
        predict_failure([], [])
    with pytest.raises(InputError, match=r"elapsed share of 1\.5"):
        predict_failure(some, [True, True, False], shares=(1.5,))
    with pytest.raises(InputError, match="no figure 'speed'"):
        predict_failure(some, [True, True, False], figures=("speed",))


# --- outcomes -------------------------------------------------------------------------------------


def test_outcomes_of_a_jsonl_file(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_text('{"id": "a", "right": true, "note": 1}\n\n{"id": "b", "right": false}\n')
    assert read_outcomes(path) == {"a": True, "b": False}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no outcome"),
        ('{"id": "a", "right": true}\n{"id": "a", "right": false}', "line 2: 'a' is there twice"),
        ('{"id": "a", "right": 1}', "line 1: right: "),
        ('{"id": "a"}', "line 1: right: "),
        ("nonsense", "line 1"),
        ("[1]", "line 1"),
    ],
)
def test_outcomes_with_mistakes(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_outcomes(path)
    with pytest.raises(InputError, match="cannot read"):
        read_outcomes(tmp_path / "absent.jsonl")
