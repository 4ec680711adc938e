"""The metrics of one example: on a planted truth, and on a model."""

from __future__ import annotations

import numpy as np
import pytest

from omnitrace import InputError
from omnitrace.ablation import MaskDealer, leave_one_out, measure
from omnitrace.ablation.masks import FEWEST
from omnitrace.evaluation.faithfulness_run import FaithfulnessOptions, faithfulness
from tests.helpers import naive_ablation as naive

SIZES = [4, 9, 5, 7, 6, 8, 5, 4, 9, 6, 7, 5, 6, 8]
WEIGHTS = np.random.default_rng(0).normal(size=(2, len(SIZES)))


class Planted:
    """A linear model that notes which masks it was asked for."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        self.asked.append(masks)
        found: np.ndarray = masks @ WEIGHTS.T - 5
        return found


def test_the_true_weights_of_a_planted_model_are_found_faithful() -> None:
    planted, dealer = Planted(), MaskDealer(SIZES, example="a")
    found = faithfulness(
        planted,
        {"truth": WEIGHTS, "upside down": -WEIGHTS},
        dealer,
        span_tokens=np.array([3, 5]),
        options=FaithfulnessOptions(oracle=64, ks=(1, 3), curves=True),
    )
    assert len(planted.asked) == 1
    assert len(np.unique(planted.asked[0], axis=0)) == len(planted.asked[0]) == found.masks
    truth, wrong = found.values["truth"], found.values["upside down"]
    for metric in ("lds", "size-controlled-lds", "r-squared"):
        np.testing.assert_allclose(truth[metric], 1, atol=1e-9)
    np.testing.assert_allclose(wrong["lds"], -1, atol=1e-9)
    # The calibration finds that the scores are upside down, and turns them.
    np.testing.assert_allclose(wrong["r-squared"], 1, atol=1e-9)
    ordered = -np.sort(-WEIGHTS, axis=1)
    np.testing.assert_allclose(truth["top-1-drop"], ordered[:, 0])
    np.testing.assert_allclose(truth["top-3-drop"], ordered[:, :3].sum(axis=1))
    np.testing.assert_allclose(truth["top-3-drop-per-token"], truth["top-3-drop"] / [3, 5])
    np.testing.assert_allclose(truth["sufficiency-3"], ordered[:, 3:].sum(axis=1))
    assert (truth["deletion-auc"] < wrong["deletion-auc"]).all()
    assert (truth["insertion-auc"] > wrong["insertion-auc"]).all()
    line = -5 + WEIGHTS[0].sum() - np.concatenate([[0], np.cumsum(ordered[0])])
    expected = ((line[:-1] + line[1:]) / 2).mean()
    assert truth["deletion-auc"][0] == pytest.approx(expected)
    np.testing.assert_allclose(found.oracle["lds"], 1, atol=1e-9)
    assert set(found.values) == {"truth", "upside down", "random", "unit-size", "uniform"}
    assert found.summary()["truth"]["lds"].defined == 2
    assert set(found.values["random"]) == set(truth)


def test_what_a_signal_was_fitted_on_judges_nothing() -> None:
    dealer = MaskDealer(SIZES, example="b")
    best = int(WEIGHTS[0].argmax())
    without = np.ones((1, len(SIZES)), dtype=bool)
    without[0, best] = False
    dealer.fitted(without)
    found = faithfulness(
        Planted(),
        {"truth": WEIGHTS},
        dealer,
        span_tokens=np.array([3, 5]),
        options=FaithfulnessOptions(controls=False),
    )
    drops = found.values["truth"]["top-1-drop"]
    assert np.isnan(drops[0])
    assert drops[1] == pytest.approx(WEIGHTS[1].max())
    assert found.summary()["truth"]["top-1-drop"][1:] == (1, 1)
    assert "r-squared" not in found.values["truth"]
    assert found.oracle == {}


def test_a_mask_that_one_signal_was_fitted_on_judges_the_others() -> None:
    dealer = MaskDealer(SIZES, example="b")
    dealer.fitted(leave_one_out(len(SIZES)), by="fitted")
    scores = {"fitted": WEIGHTS, "free": WEIGHTS}
    found = faithfulness(
        Planted(),
        scores,
        dealer,
        span_tokens=np.array([3, 5]),
        options=FaithfulnessOptions(oracle=32, controls=False),
    )
    fitted, free = found.values["fitted"], found.values["free"]
    assert np.isnan(fitted["top-1-drop"]).all()
    assert np.isnan(fitted["r-squared"]).all()
    np.testing.assert_allclose(free["top-1-drop"], WEIGHTS.max(axis=1))
    np.testing.assert_allclose(free["r-squared"], 1)
    np.testing.assert_array_equal(fitted["top-3-drop"], free["top-3-drop"])


def test_what_the_oracle_is_fitted_on_judges_all_scores() -> None:
    units, count = 8, 120  # of the 127 masks for fitting: half of all that leave one out are dealt
    dealer = MaskDealer([5] * units, example="small")
    fits = MaskDealer([5] * units, example="small").fit(count)
    alone = leave_one_out(units)
    assert {mask.tobytes() for mask in alone} & {mask.tobytes() for mask in fits}
    found = faithfulness(
        lambda masks: masks @ np.eye(units),
        {"truth": np.eye(units)},  # for each unit a span that rests on it
        dealer,
        span_tokens=np.ones(units),
        options=FaithfulnessOptions(
            masks=16, sized=8, oracle=count, ks=(1,), curves=True, controls=False
        ),
    )
    truth = found.values["truth"]
    np.testing.assert_allclose(truth["top-1-drop"], 1)
    np.testing.assert_allclose(truth["sufficiency-1"], 0)
    np.testing.assert_allclose(truth["deletion-auc-normalised"], 0.5 / units)


def test_masks_that_keep_all_or_nothing_judge_whoever_measured_them() -> None:
    units = len(SIZES)
    dealer = MaskDealer(SIZES, example="d")
    dealer.fitted(np.array([[True] * units, [False] * units]), by="mine")
    found = faithfulness(
        Planted(),
        {"mine": WEIGHTS, "other": WEIGHTS},
        dealer,
        span_tokens=np.array([3, 5]),
        options=FaithfulnessOptions(ks=(units,), curves=True, controls=False),
    )
    mine, other = found.values["mine"], found.values["other"]
    assert mine.keys() == other.keys()
    for name, values in other.items():
        np.testing.assert_array_equal(mine[name], values)
        assert np.isfinite(values).all(), name


def test_r_squared_is_undefined_where_effects_hardly_differ() -> None:
    for scale, undefined in ((1e-4, True), (0.1, False)):

        def run(masks: np.ndarray, scale: float = scale) -> np.ndarray:
            return scale * (masks @ WEIGHTS.T)

        found = faithfulness(
            run,
            {"truth": WEIGHTS},
            MaskDealer(SIZES, example="e"),
            span_tokens=np.array([3, 5]),
            options=FaithfulnessOptions(oracle=64, controls=False),
        )
        assert (np.isnan(found.values["truth"]["r-squared"]) == undefined).all()


def test_lds_is_undefined_with_too_few_masks() -> None:
    for count, undefined in ((FEWEST - 1, True), (FEWEST, False)):
        found = faithfulness(
            Planted(),
            {"truth": WEIGHTS},
            MaskDealer(SIZES, example="f"),
            span_tokens=np.array([3, 5]),
            options=FaithfulnessOptions(masks=count, sized=count, controls=False),
        )
        for name in ("lds", "size-controlled-lds"):
            assert (np.isnan(found.values["truth"][name]) == undefined).all()


def test_it_runs_on_a_model() -> None:
    made = naive.family("llama")
    dealer = MaskDealer([len(unit) for unit in naive.UNITS], example="c")
    found = faithfulness(
        lambda masks: measure(made, naive.SPANS, masks).span_logprobs,
        {"mine": np.random.default_rng(0).random((2, 6))},
        dealer,
        span_tokens=np.array([3, 4]),
        options=FaithfulnessOptions(masks=12, sized=6, oracle=12, ks=(1,)),
    )
    for metrics in found.values.values():
        assert (np.abs(metrics["lds"]) <= 1).all()
        assert np.isfinite(metrics["sufficiency-1"]).any()
    assert (found.oracle["lds"] > found.values["random"]["lds"] - 1).all()


def test_bad_input_is_refused() -> None:
    def dealer() -> MaskDealer:
        return MaskDealer(SIZES)

    tokens = np.array([3, 5])
    with pytest.raises(InputError, match=r"'x' have the shape \(2, 3\).*\[2 spans, 14 units\]"):
        faithfulness(Planted(), {"x": np.ones((2, 3))}, dealer(), span_tokens=tokens)
    with pytest.raises(InputError, match="the scores 'x' have nan"):
        faithfulness(Planted(), {"x": WEIGHTS * np.nan}, dealer(), span_tokens=tokens)
    with pytest.raises(InputError, match=r"measure\(\) returned values of shape"):
        faithfulness(lambda v: np.zeros(len(v)), {}, dealer(), span_tokens=tokens)
