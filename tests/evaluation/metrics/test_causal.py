"""The metrics by name, against slow references that take units away one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

from omnitrace.ablation import MaskDealer, random_masks
from omnitrace.ablation.masks import FEWEST, as_many
from omnitrace.evaluation.metrics.causal import Claim, effect_metrics

METRICS = effect_metrics((1, 2))


def drawn(seed: int) -> tuple[Claim, set[bytes]]:
    """Draw a claim about a model in which units interact, and the masks that fitted the scores."""
    rng = np.random.default_rng(seed)
    units = int(rng.integers(5, 10))
    weights, pairs = rng.normal(size=units), 0.3 * rng.normal(size=(units, units))

    def logprobs(masks: np.ndarray) -> np.ndarray:
        kept = masks.astype(float)
        return np.array([row @ weights + row @ pairs @ row - 3 for row in kept])

    fitted = {mask.tobytes() for mask in random_masks(units, 2**units // 8, seed=seed)}

    def judges(masks: np.ndarray) -> np.ndarray:
        return np.array([mask.tobytes() not in fitted for mask in masks], dtype=bool)

    dealer = MaskDealer(rng.integers(1, 9, units), example=str(seed))
    dealt = SimpleNamespace(
        sizes=dealer.sizes,
        plain=dealer.evaluation(8),
        sized=as_many(dealer.sized_evaluation, 4, units),
        fit=dealer.fit(2 * units),
    )
    scores = np.round(rng.normal(size=units), 1)  # some are equal
    return Claim(scores, dealt, logprobs, 3, judges, effects=True), fitted


def reference(claim: Claim, fitted: set[bytes]) -> dict[str, float]:
    units = len(claim.scores)

    def f(kept: set[int]) -> float:
        mask = np.array([unit in kept for unit in range(units)])
        may = mask.tobytes() not in fitted or len(kept) in (0, units)
        return float(claim.logprobs(mask[None])[0]) if may else math.nan

    every = set(range(units))
    order = sorted(every, key=lambda unit: (-claim.scores[unit], unit))
    expected: dict[str, float] = {}
    for k in (1, 2):
        drop = f(every) - f(every - set(order[:k]))
        expected |= {f"top-{k}-drop": drop, f"comprehensiveness-{k}": drop}
        expected[f"top-{k}-drop-per-token"] = drop / 3
        expected[f"sufficiency-{k}"] = f(every) - f(set(order[:k]))
    curves = {"deletion": [f(set(order[j:])) for j in range(units + 1)]}
    curves["insertion"] = [f(set(order[:j])) for j in range(units + 1)]
    for kind, curve in curves.items():
        none, all_ = f(set()), f(every)
        expected[f"{kind}-auc"] = float(np.trapezoid(curve)) / units
        expected[f"{kind}-auc-normalised"] = (expected[f"{kind}-auc"] - none) / (all_ - none)
    effects = np.array([f(every) - f(every - {unit}) for unit in range(units)])
    known = ~np.isnan(effects)
    expected["r-squared-of-effects"] = _r2(effects[known], claim.scores[known])
    masks = claim.dealt.fit
    factor = np.polyfit(masks @ claim.scores, claim.logprobs(masks), 1)[0]
    calibrating = {mask.tobytes() for mask in masks}
    known &= [mask.tobytes() not in calibrating for mask in ~np.eye(units, dtype=bool)]
    expected["r-squared"] = _r2(effects[known], factor * claim.scores[known])
    plain = np.array([mask for mask in claim.dealt.plain if mask.tobytes() not in fitted])
    if len(plain) >= FEWEST:
        predicted = np.round(plain @ claim.scores, 6)  # equal sums are ties
        expected["lds"] = spearmanr(predicted, claim.logprobs(plain)).statistic
    return expected


def _r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(r2_score(truth, predicted)) if len(truth) > 1 else math.nan


@given(st.integers(0, 10_000))
def test_the_metrics_equal_slow_references(seed: int) -> None:
    claim, fitted = drawn(seed)
    expected = reference(claim, fitted)
    assert len(expected) >= len(METRICS) - 4
    for name, value in expected.items():
        found = METRICS[name].value(claim)
        assert found == pytest.approx(value, abs=1e-8, nan_ok=True), name


@given(st.integers(0, 10_000))
def test_a_metric_asks_for_no_mask_that_it_did_not_name(seed: int) -> None:
    claim, _ = drawn(seed)
    for name, metric in METRICS.items():
        named = {mask.tobytes() for mask in metric.masks(claim.scores, claim.dealt)}
        watched = Claim(
            claim.scores,
            claim.dealt,
            _only(named, claim.logprobs),
            3,
            claim.not_fitted,
            effects=True,
        )
        assert metric.value(watched) == pytest.approx(metric.value(claim), nan_ok=True), name


def _only(
    named: set[bytes], logprobs: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    def watched(masks: np.ndarray) -> np.ndarray:
        assert {mask.tobytes() for mask in masks} <= named
        return logprobs(masks)

    return watched


def test_a_span_without_a_token_has_no_drop_per_token() -> None:
    claim, _ = drawn(3)
    empty = Claim(claim.scores, claim.dealt, claim.logprobs, 0)
    assert math.isnan(METRICS["top-1-drop-per-token"].value(empty))
    assert math.isfinite(METRICS["top-1-drop"].value(empty))
    assert math.isnan(METRICS["r-squared-of-effects"].value(empty))
