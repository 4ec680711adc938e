"""Fits in closed form equal the slow way; all three find weights that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from omnitrace import InputError
from omnitrace.estimator import Example, FitOptions, Fitted, fit_weights
from omnitrace.estimator.features import with_offsets
from omnitrace.estimator.fit_options import SpanGroup
from tests.helpers.estimators import UNITS, default_truth, made_example

ONE = (10.0,)


def weight(logprobs: np.ndarray, noise: float) -> float:
    return float(logprobs.var() / (logprobs.var() + noise**2))


def design(examples: Sequence[Example], noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Write out every mask's row: sums over kept units, centred a span; targets scaled; weighed."""
    rows, targets = [], []
    for example in examples:
        for features, target in zip(example.features, example.logprobs.T, strict=True):
            columns = with_offsets(features.astype(np.float64), example.modalities)
            sums = example.masks @ columns.T
            root = weight(target, noise) ** 0.5
            rows.append(root * (sums - sums.mean(axis=0)))
            targets.append(root * (target - target.mean()) / target.std())
    return np.concatenate(rows), np.concatenate(targets)


def degrees_of(examples: Sequence[Example]) -> float:
    return sum(
        (len(each.masks) - 1) * weight(target, 1.0)
        for each in examples
        for target in each.logprobs.T
    )


def scaled(examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, targets = design(examples)
    degrees = degrees_of(examples)
    scale = np.sqrt((rows**2).sum(axis=0) / degrees)
    scale[scale < 1e-12] = 1.0
    return rows / scale, targets, scale


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [made_example(i) for i in range(12)]


def test_ridge_equals_least_squares_with_a_penalty(examples: list[Example]) -> None:
    rows, targets, scale = scaled(examples)
    padded = np.vstack([rows, np.sqrt(ONE[0]) * np.eye(rows.shape[1])])
    expected = np.linalg.lstsq(padded, np.append(targets, np.zeros(rows.shape[1])), rcond=None)[0]
    found = fit_weights(examples, FitOptions(penalties=ONE))
    np.testing.assert_allclose(found.weights, expected / scale, atol=1e-8)


def test_the_posterior_of_ridge(examples: list[Example]) -> None:
    rows, targets, scale = scaled(examples)
    found = fit_weights(examples, FitOptions(penalties=ONE))
    inverse = np.linalg.inv(rows.T @ rows + ONE[0] * np.eye(rows.shape[1]))
    left = targets - rows @ (found.weights * scale)
    degrees = degrees_of(examples)
    used = np.trace(rows @ inverse @ rows.T)
    noise = np.sqrt((left @ left) / (degrees - used))
    assert found.noise == pytest.approx(noise, rel=1e-6)
    assert found.covariance is not None
    covariance = noise**2 * inverse / np.outer(scale, scale)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-4, atol=1e-9)
    features = examples[0].features[0].astype(np.float64)
    columns = with_offsets(features, UNITS)
    spreads = [np.sqrt(c @ covariance @ c + noise**2) for c in columns.T]
    np.testing.assert_allclose(found.spreads(features, UNITS), spreads, rtol=1e-4)


def test_non_negative_least_squares_equals_scipy_on_all_rows(examples: list[Example]) -> None:
    rows, targets, scale = scaled(examples)
    padded = np.vstack([rows, np.sqrt(ONE[0]) * np.eye(rows.shape[1])])
    expected = scipy.optimize.nnls(padded, np.append(targets, np.zeros(rows.shape[1])))[0]
    found = fit_weights(examples, FitOptions(kind="nnls", penalties=ONE))
    np.testing.assert_allclose(found.weights, expected / scale, atol=1e-7)
    assert (found.weights >= 0).all()


@pytest.mark.parametrize("kind", ["ridge", "nnls", "pearson"])
def test_known_weights_are_found(kind: str) -> None:
    truth = default_truth()
    if kind == "pearson":
        truth[10:] = 0.0  # its recipe knows of no offsets
    learning = [made_example(i, truth=truth) for i in range(40)]
    found = fit_weights(learning, FitOptions(kind=kind, steps=300))  # type: ignore[arg-type]
    other = made_example(99, truth=truth)
    expected = Fitted("ridge", truth).scores(other.features, UNITS)
    scores = found.scores(other.features, UNITS)
    assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.98
    assert set(np.argsort(-np.abs(found.weights[:10]))[:2]) == {2, 7}


def test_a_group_knows_its_correlation(examples: list[Example]) -> None:
    example, weights = examples[0], np.random.default_rng(0).standard_normal((15, 3))
    masks = example.masks - example.masks.mean(axis=0)
    target = example.logprobs[:, 1] - example.logprobs[:, 1].mean()
    columns = with_offsets(example.features[1].astype(np.float64), UNITS)
    root = np.linalg.qr(masks, mode="r")
    group = SpanGroup(columns, root, masks.T @ target, float(target @ target))
    expected = [
        scipy.stats.pearsonr(example.masks @ columns.T @ each, example.logprobs[:, 1])[0]
        for each in weights.T
    ]
    np.testing.assert_allclose(group.correlations(weights), expected, atol=1e-10)
    assert (group.correlations(np.zeros((15, 2))) == 0).all()


@pytest.mark.parametrize("kind", ["ridge", "nnls", "pearson"])
def test_a_rerun_gives_the_same_bits(kind: str, examples: list[Example]) -> None:
    options = FitOptions(kind=kind, steps=20)  # type: ignore[arg-type]
    first, second = (fit_weights(examples, options) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.tried == second.tried
    if kind == "ridge":
        assert first.covariance is not None
        assert second.covariance is not None
        assert first.covariance.tobytes() == second.covariance.tobytes()


def test_the_penalty_is_that_of_left_out_examples() -> None:
    noisy = [made_example(i, noise=3.0, masks=8) for i in range(10)]
    found = fit_weights(noisy, FitOptions(penalties=(0.001, 100.0, 1e9)))
    best = max(found.tried, key=lambda name: found.tried[name])
    assert found.chosen == {"penalty": float(best.removeprefix("penalty "))}
    assert found.chosen["penalty"] > 0.001


def test_spans_that_masks_hardly_move_weigh_little(examples: list[Example]) -> None:
    first = examples[0]
    noise = np.random.default_rng(3).normal(0.0, 0.01, first.logprobs.shape)
    still = Example("still", first.features, first.masks, noise, UNITS, first.tokens)
    expected = fit_weights(examples[1:], FitOptions(penalties=ONE)).weights
    careful, careless = (
        fit_weights([still, *examples[1:]], FitOptions(penalties=ONE, noise=each)).weights
        for each in (1.0, 0.0)
    )
    far = np.abs(careless - expected).max()
    assert np.abs(careful - expected).max() < 0.01 * far


def test_a_rare_modality_is_shrunk_to_the_others() -> None:
    common = [made_example(i, modalities=("text",) * 6) for i in range(20)]
    found = fit_weights(common)
    features = np.zeros((10, 2), dtype=np.float32)
    of_text, of_video = found.scores(features, ("text", "video"))
    assert 0 < of_video < of_text  # what every unit is worth, without what text adds


def test_offsets_may_be_left_out(examples: list[Example]) -> None:
    found = fit_weights(examples, FitOptions(offsets=False))
    assert (found.weights[10:] == 0).all()
    assert found.covariance is not None
    assert found.covariance.shape == (15, 15)
    assert not found.covariance[10:].any()


def test_spans_that_nothing_changes_say_nothing(examples: list[Example]) -> None:
    first = examples[0]
    flat = np.column_stack([first.logprobs[:, 0], np.full(len(first.masks), -3.0)])
    changed = Example("flat", first.features, first.masks, flat, UNITS, first.tokens)
    alone = Example("alone", first.features[:1], first.masks, flat[:, :1], UNITS, first.tokens[:1])
    with_flat, without = (
        fit_weights([each, *examples[1:]], FitOptions(penalties=ONE)) for each in (changed, alone)
    )
    np.testing.assert_allclose(with_flat.weights, without.weights, atol=1e-10)


def test_what_cannot_be_learnt_from(examples: list[Example]) -> None:
    with pytest.raises(InputError, match="1 examples to learn from"):
        fit_weights(examples[:1])
    with pytest.raises(InputError, match="10 and 11 features"):
        fit_weights([examples[0], made_example(1, features=11)])
    first = examples[0]
    flat = Example(
        "flat", first.features, first.masks, np.zeros_like(first.logprobs), UNITS, first.tokens
    )
    with pytest.raises(InputError, match="no mask changes"):
        fit_weights([flat, flat])
    with pytest.raises(InputError, match="not finite"):
        Example("nan", first.features * np.nan, first.masks, first.logprobs, UNITS, first.tokens)
    with pytest.raises(InputError, match="features of shape"):
        Example("shape", first.features[0], first.masks, first.logprobs, UNITS, first.tokens)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "lasso"}, "'lasso'.*ridge, pearson, nnls, mlp"),
        ({"penalties": (0.0,)}, "penalties"),
        ({"penalties": ()}, "penalties"),
        ({"rates": (float("inf"),)}, "rates"),
        ({"steps": 1}, "steps"),
        ({"folds": 1}, "folds"),
    ],
)
def test_options_that_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FitOptions(**options)  # type: ignore[arg-type]
