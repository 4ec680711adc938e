"""A network for each unit: scores are still sums over units, and say what weights cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnitrace import InputError
from omnitrace.estimator import Example, FitOptions, Fitted, Network, fit_weights
from omnitrace.estimator import mlp as module
from omnitrace.estimator.adam import Batch
from omnitrace.estimator.features import with_offsets
from omnitrace.estimator.fit import _groups
from omnitrace.estimator.fit_options import SpanGroup
from omnitrace.types import Modality
from tests.helpers.estimators import UNITS, default_truth, made_example

#: As short as is allowed, for what does not depend on how good it is.
SHORT = FitOptions(kind="mlp", lengths=(10, 20), hidden=8, networks=2)

#: As is of use.
LONG = FitOptions(kind="mlp", lengths=(400,), networks=1)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [made_example(i) for i in range(12)]


@pytest.fixture(scope="module")
def fitted(examples: list[Example]) -> Fitted:
    return fit_weights(examples, SHORT)


def grouped(examples: Sequence[Example], options: FitOptions = SHORT) -> list[SpanGroup]:
    return [group for each in examples for group in _groups(each, options)]


IS_TEXT = np.array([modality == "text" for modality in UNITS])


def by_modality(features: np.ndarray) -> np.ndarray:
    """Return scores for which one head tells of text, and another one of all else."""
    return np.where(IS_TEXT, 4 * features[:, 2], 4 * features[:, 7]).astype(np.float64)


def made_by_modality(number: int) -> Example:
    drawn = made_example(number)
    noise = np.random.default_rng([8, number]).normal(0, 0.1, drawn.logprobs.shape)
    logprobs = drawn.masks @ by_modality(drawn.features).T + noise
    return dataclasses.replace(drawn, logprobs=logprobs)


def test_scores_equal_a_slow_reference() -> None:
    rng = np.random.default_rng(0)
    network = Network(rng.normal(size=(4, 15)), rng.normal(size=4), rng.normal(size=4))
    weights = rng.normal(size=15)
    features = made_example(0).features
    found = Fitted("mlp", weights, network=network).scores(features, UNITS)
    for span, of_span in enumerate(with_offsets(features.astype(np.float64), UNITS)):
        for unit, column in enumerate(of_span.T):
            expected = weights @ column
            for inner, bias, outer in zip(network.inner, network.bias, network.outer, strict=True):
                hidden = torch.tensor(inner @ column + bias)
                expected += outer * float(torch.nn.functional.gelu(hidden, approximate="tanh"))
            assert found[span, unit] == pytest.approx(expected, abs=1e-12)


@given(order=st.permutations(range(6)), kept=st.sets(st.integers(0, 5), min_size=1))
def test_a_unit_is_scored_by_itself(fitted: Fitted, order: list[int], kept: set[int]) -> None:
    """So scores are additive: they do not depend on the order of units, nor on other ones."""
    features = made_example(20).features

    def scores(units: Sequence[int]) -> np.ndarray:
        modalities: list[Modality] = [UNITS[unit] for unit in units]
        return fitted.scores(features[:, :, list(units)], modalities)

    expected = fitted.scores(features, UNITS)
    np.testing.assert_allclose(scores(order), expected[:, order], atol=1e-12)
    np.testing.assert_allclose(scores(sorted(kept)), expected[:, sorted(kept)], atol=1e-12)


def test_what_is_kept_is_the_mean_of_the_networks_that_were_trained(
    examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    climb = module._climb

    def noted(*given: object) -> object:
        trained.append((given[1], climb(*given)))  # type: ignore[arg-type]
        return trained[-1][1]

    monkeypatch.setattr(module, "_climb", noted)
    batch = Batch(grouped(examples))
    weights, network = module._trained(batch, 20, SHORT.networks, SHORT)
    assert len(trained) == SHORT.networks
    with torch.no_grad():
        each = [parameters.scores(columns) for columns, parameters in trained]
    expected = torch.stack(each).mean(dim=0)
    assert len(network.bias) == SHORT.networks * SHORT.hidden
    found = module._of(batch.columns, weights, network)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_batch_knows_the_correlations_of_its_groups(examples: list[Example]) -> None:
    fewer = made_example(30, modalities=("text", "audio", "video"), masks=9)
    groups = grouped([examples[0], fewer, examples[1]])
    batch = Batch(groups)
    weights = np.random.default_rng(1).standard_normal(15)
    scores = torch.from_numpy(np.concatenate([weights @ group.columns for group in groups]))
    expected = [float(group.correlations(weights[:, None])[0]) for group in groups]
    np.testing.assert_allclose(batch.correlations(scores.float()), expected, atol=1e-5)


def test_known_weights_are_found() -> None:
    found = fit_weights([made_example(i) for i in range(40)], LONG)
    features = np.concatenate([made_example(i).features for i in range(90, 96)])
    expected = Fitted("ridge", default_truth()).scores(features, UNITS)
    assert np.corrcoef(found.scores(features, UNITS).ravel(), expected.ravel())[0, 1] > 0.9


def test_it_finds_what_no_weight_a_head_can_say() -> None:
    learning = [made_by_modality(i) for i in range(40)]
    features = np.concatenate([made_example(i).features for i in range(90, 96)])
    right = {}
    for kind in ("ridge", "mlp"):
        found = fit_weights(learning, dataclasses.replace(LONG, kind=kind))
        scores = found.scores(features, UNITS)
        right[kind] = np.corrcoef(scores.ravel(), by_modality(features).ravel())[0, 1]
    assert right["ridge"] < 0.85
    assert right["mlp"] > 0.9


def test_a_rerun_gives_the_same_bits(examples: list[Example], fitted: Fitted) -> None:
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = fit_weights(examples, SHORT)
    assert torch.equal(torch.get_rng_state(), state)  # it draws from a generator of its own
    other = fit_weights(examples, dataclasses.replace(SHORT, seed=1))
    assert fitted.network is not None
    assert again.network is not None
    assert other.network is not None
    for name in ("inner", "bias", "outer"):
        first = getattr(fitted.network, name)
        assert first.tobytes() == getattr(again.network, name).tobytes()
        assert first.tobytes() != getattr(other.network, name).tobytes()
    assert again.weights.tobytes() == fitted.weights.tobytes()
    assert (again.chosen, again.tried) == (fitted.chosen, fitted.tried)


def test_the_length_is_that_of_left_out_examples(fitted: Fitted) -> None:
    best = max(fitted.tried, key=lambda name: fitted.tried[name])
    assert set(fitted.tried) == {"10 steps", "20 steps"}
    assert fitted.chosen == {"steps": float(best.removesuffix(" steps"))}


def test_the_scale_of_features_does_not_matter(examples: list[Example], fitted: Fitted) -> None:
    """Attention as it is can be tiny, and there are heads that see nothing."""

    def changed(features: np.ndarray) -> np.ndarray:
        still = np.full((*features.shape[:-2], 1, features.shape[-1]), 0.3, dtype=np.float32)
        return np.concatenate([features * np.float32(2**-20), still, 0 * still], axis=-2)

    tiny = [dataclasses.replace(each, features=changed(each.features)) for each in examples]
    found = fit_weights(tiny, SHORT)
    assert found.network is not None
    assert not found.network.inner[:, 10:12].any()
    expected = fit_weights(
        [
            dataclasses.replace(each, features=changed(each.features) * np.float32(2**20))
            for each in examples
        ],
        SHORT,
    )
    features = made_example(20).features
    scores = found.scores(changed(features), UNITS)
    np.testing.assert_allclose(
        scores, expected.scores(changed(features) * np.float32(2**20), UNITS), atol=1e-4
    )


def test_offsets_may_be_left_out(examples: list[Example]) -> None:
    found = fit_weights(examples, dataclasses.replace(SHORT, offsets=False))
    assert found.network is not None
    assert found.network.inner.shape == (16, 15)
    assert not found.network.inner[:, 10:].any()
    assert not found.weights.any()
    features = made_example(20).features
    as_text, as_video = (found.scores(features, (kind,) * 6) for kind in ("text", "video"))
    assert (as_text == as_video).all()


def test_spans_that_masks_hardly_move_weigh_little(examples: list[Example]) -> None:
    groups = grouped(examples)
    first = examples[0]
    noise = np.random.default_rng(3).normal(0.0, 0.001, first.logprobs.shape)
    still = dataclasses.replace(first, logprobs=noise)
    batch = Batch([*grouped([still]), *groups])
    assert batch.weights[:2].max() < 1e-5
    expected, found = (
        fit_weights(list(each), SHORT).scores(first.features, UNITS)
        for each in (examples, [*examples[:6], still, *examples[6:]])
    )
    assert np.isfinite(found).all()
    assert found.shape == expected.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": ()}, "lengths"),
        ({"lengths": (5,)}, "lengths"),
        ({"hidden": 0}, "hidden"),
        ({"networks": 0}, "networks"),
    ],
)
def test_options_that_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FitOptions(**options)  # type: ignore[arg-type]


def test_examples_of_one_unit_give_finite_numbers() -> None:
    alone = [made_example(i, spans=1, modalities=("text",)) for i in range(2)]
    found = fit_weights(alone, SHORT)
    assert np.isfinite(found.scores(alone[0].features, ("text",))).all()
