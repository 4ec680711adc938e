"""Tracing on a CUDA device gives what tracing on the processor gives.

Skipped where there is none: nothing here runs on the machine that tests every change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import Span, Trace, Tracer
from omnitrace.ablation import random_masks
from omnitrace.capture.attention_hooks import attention_modules
from omnitrace.estimator import (
    CollectOptions,
    Collector,
    FeatureRecipe,
    FitOptions,
    TrainOptions,
    load_signal,
    train_estimator,
)
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import Sample, held_out_seed, make_sample
from omnitrace.sources.request_files import RequestEntry
from tests.helpers.attention_rows import assert_same, captured_rows, eager_rows
from tests.helpers.builtin_signals import BUILTIN_TOKEN_SIGNALS
from tests.helpers.tiny_models import FAMILIES, tiny
from tests.helpers.tiny_multimodal_models import FAMILIES as OMNI

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

ORDER = ("video", "text", "audio", "image")
INPUT = {"text": "drop", "image": "grey", "audio": "silence", "video": "freeze"}
RECIPES = [
    FeatureRecipe(values=True, rollout=True),
    FeatureRecipe(gradients="heads"),
    FeatureRecipe(gradients="total", normalise="raw"),
    FeatureRecipe(rollout=True, mask_gradient=True),
]


@pytest.fixture(scope="module", autouse=True)
def exact() -> Iterator[None]:
    """Keep products and convolutions in float32, as on the processor."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    sample = make_sample(held_out_seed(1242), questions=4, order=ORDER, long=False)
    return sample, write_sample(sample, tmp_path_factory.mktemp("asked")).parent


@pytest.fixture(scope="module")
def there() -> Tracer:
    return Tracer.from_pretrained("reference", device="cuda")


def both(reference: Tracer, there: Tracer, signal: str) -> list[Tracer]:
    return [Tracer(adapter=each.adapter, signal=signal) for each in (reference, there)]


def assert_alike(found: Trace, expected: Trace, tolerance: float = 1e-4) -> None:
    assert found.token_ids == expected.token_ids
    assert [unit.id for unit in found.units] == [unit.id for unit in expected.units]
    scores = expected.unit_scores()
    limit = tolerance * float(np.abs(scores).max())
    np.testing.assert_allclose(found.unit_scores(), scores, atol=limit)
    for mine, theirs in zip(found.spans, expected.spans, strict=True):
        assert supports(mine) == supports(theirs)


def supports(span: Span) -> set[str]:
    return {support.unit.id for support in span.supports}


def values(trace: Trace) -> list[list[float]]:
    return [[each.value for each in (span.effects or {}).values()] for span in trace.spans]


@pytest.mark.parametrize("signal", BUILTIN_TOKEN_SIGNALS)
def test_token_signals(
    reference: Tracer, there: Tracer, asked: tuple[Sample, Path], signal: str
) -> None:
    sample, folder = asked
    here, gpu = both(reference, there, signal)
    expected = here.trace(sample.messages, media_root=folder)
    found = gpu.trace(sample.messages, media_root=folder)
    assert_alike(found, expected)
    assert_alike(gpu.replay(sample.messages, list(found.token_ids), media_root=folder), expected)


def test_the_estimator_streams(
    reference: Tracer, there: Tracer, asked: tuple[Sample, Path]
) -> None:
    sample, folder = asked
    here, gpu = both(reference, there, "estimator")
    expected = here.trace(sample.messages, media_root=folder)
    found = gpu.trace(sample.messages, media_root=folder)
    assert found.token_ids == expected.token_ids
    for mine, theirs in zip(values(found), values(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3)
    *_, end = gpu.stream(sample.messages, media_root=folder)
    assert end.type == "end"
    assert end.trace.spans == found.spans


def test_the_gradient_of_a_mask(
    reference: Tracer, there: Tracer, asked: tuple[Sample, Path]
) -> None:
    sample, folder = asked
    expected, found = (
        tracer.replay(sample.messages, sample.answer, media_root=folder)
        for tracer in both(reference, there, "mask-gradient")
    )
    np.testing.assert_allclose(values(found), values(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_features_of_estimators(
    reference: Tracer, there: Tracer, asked: tuple[Sample, Path], recipe: FeatureRecipe
) -> None:
    sample, folder = asked
    options = CollectOptions(masks=4, recipe=recipe)
    request = RequestEntry("r", sample.messages, folder, response=sample.answer)
    expected, found = (Collector(tracer, options).example(request) for tracer in (reference, there))
    limit = 1e-4 * float(np.abs(expected.features).max())
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-3, atol=limit)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-2)


def test_an_estimator_of_finished_responses(there: Tracer, asked: tuple[Sample, Path]) -> None:
    sample, folder = asked
    request = RequestEntry("r", sample.messages, folder, response=sample.answer)
    recipe = FeatureRecipe(values=True, mask_gradient=True)
    options = CollectOptions(masks=8, evaluation_masks=8, recipe=recipe)
    learned = train_estimator(there, [request] * 3, TrainOptions(collect=options))
    tracer = Tracer(adapter=there.adapter, signal=load_signal(learned))
    found = values(tracer.replay(sample.messages, sample.answer, media_root=folder))
    example = Collector(there, options).example(request)
    expected = [
        learned.calibration.effects(learned.fitted.scores(each, example.modalities), float(tokens))
        for each, tokens in zip(example.features, example.tokens, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("operator", ["attention", "mean", INPUT])
def test_effects(
    reference: Tracer, there: Tracer, asked: tuple[Sample, Path], operator: Any
) -> None:
    sample, folder = asked
    trace = reference.replay(sample.messages, sample.answer, media_root=folder)
    moved = there.replay(sample.messages, sample.answer, media_root=folder)
    masks = random_masks(len(trace.units), 8, seed=0)
    expected = reference.effects(trace, masks, operator=operator)
    found = there.effects(moved, masks, operator=operator)
    np.testing.assert_allclose(found.tokens, expected.tokens, atol=1e-3)


def test_training_an_estimator(there: Tracer, asked: tuple[Sample, Path]) -> None:
    sample, folder = asked
    requests = [
        RequestEntry(f"r{number}", sample.messages, folder, response=sample.answer)
        for number in range(3)
    ]
    options = TrainOptions(
        collect=CollectOptions(masks=8, evaluation_masks=8), fit=FitOptions(penalties=(10.0, 100.0))
    )
    learned = train_estimator(there, requests, options)
    assert learned.card.training.examples >= 1
    assert np.isfinite(learned.fitted.weights).all()


@pytest.mark.parametrize("family", [*FAMILIES, *OMNI])
def test_rows_of_families_equal_eager_attention(family: str) -> None:
    if family in OMNI:
        model, inputs = OMNI[family]()
    else:
        ids = torch.tensor([[(7 * i) % 83 + 5 for i in range(20)]])
        model, inputs = tiny(family), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    model = model.to("cuda")
    inputs = {name: value.to("cuda") for name, value in inputs.items()}
    ids, found = captured_rows(model, inputs, 8, block=4)
    again, expected = eager_rows(model, inputs, 8)
    assert torch.equal(ids, again)
    assert len(found[0]) == len(attention_modules(model.get_decoder()))
    assert_same(found, expected, inputs["input_ids"].shape[1], 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(asked: tuple[Sample, Path], dtype: torch.dtype) -> None:
    sample, folder = asked
    tracer = Tracer.from_pretrained("reference", device="cuda", dtype=dtype, signal="grad-sam")
    trace = tracer.trace(sample.messages, media_root=folder)
    assert trace.spans
    assert np.isfinite(trace.unit_scores()).all()
    assert trace.unit_scores().any()
