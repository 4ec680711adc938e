"""The benchmark of fits: its examples, and what it says of a fit."""

from __future__ import annotations

import numpy as np
import pytest

import fit
from omnitrace.estimator import Fitted
from omnitrace.estimator.features import OFFSETS


@pytest.fixture(scope="module")
def planted() -> fit.Planted:
    return fit.plant(40, heads=96)


def test_defaults_depend_on_quick() -> None:
    full, quick = fit.parse([]), fit.parse(["--quick"])
    assert full.examples == 1000
    assert quick.examples < full.examples
    assert full.kinds == ["ridge", "nnls", "pearson"]
    assert fit.HEADS == 1152
    with pytest.raises(SystemExit):
        fit.parse(["--examples", "1"])


def test_examples_are_shares_and_follow_what_is_planted(planted: fit.Planted) -> None:
    assert len(planted.examples) == 40
    assert len(planted.fresh) == fit.FRESH
    assert 0 < np.count_nonzero(planted.weights) < len(planted.weights)
    for each in planted.examples:
        assert each.features.shape == (fit.SPANS, 96, fit.UNITS)
        np.testing.assert_allclose(each.features.sum(axis=2), 1, atol=1e-5)
        assert each.masks.shape == (fit.MASKS, fit.UNITS)
        truth = each.masks @ (planted.weights @ each.features.astype(np.float64)).T
        for span in range(fit.SPANS):
            assert np.corrcoef(truth[:, span], each.logprobs[:, span])[0, 1] > 0.6


def test_examples_are_the_same_again(planted: fit.Planted) -> None:
    again = fit.plant(40, heads=96)
    np.testing.assert_array_equal(again.examples[7].features, planted.examples[7].features)
    np.testing.assert_array_equal(again.examples[7].logprobs, planted.examples[7].logprobs)


def test_planted_weights_correlate_with_themselves(planted: fit.Planted) -> None:
    own = Fitted("ridge", np.append(planted.weights, np.zeros(len(OFFSETS))))
    assert fit.of_weights(own, planted) == pytest.approx(1)
    assert fit.of_effects(own, planted) == pytest.approx(1)
    none = Fitted("ridge", np.append(np.zeros(95), np.ones(1 + len(OFFSETS))))
    assert fit.of_effects(none, planted) < 0.9


def test_a_fit_finds_them_and_is_the_same_again(planted: fit.Planted) -> None:
    found = fit.run_kind("ridge", 2, planted)
    assert len(set(found["digests"])) == 1
    assert found["weights"] > 0.5
    assert found["effects"] > 0.9
    other = fit.run_kind("ridge", 1, fit.plant(40, heads=96, seed=1))
    assert other["digests"][0] != found["digests"][0]
