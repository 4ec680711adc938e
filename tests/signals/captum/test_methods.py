"""Captum's methods through our forward function, against what they must equal."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients

from omnitrace import InputError, Span, Tracer, builtin
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.engine.prepare import read_request_and_response
from omnitrace.errors import PluginError
from omnitrace.plugins.registry import build_registry
from omnitrace.signals.base import Effect, SpanSignal, TokenSignal
from omnitrace.signals.captum.base import CaptumSignal
from omnitrace.signals.captum.gradients import InputXGradient, IntegratedGradients
from omnitrace.signals.captum.perturbation import FeatureAblation, KernelShap, Lime, Shapley
from tests.helpers import naive_ablation as naive
from tests.signals.captum.names import CAPTUM_SIGNALS

NOTE = "The lamp weighs seven grams. The cup weighs five grams. The stone weighs nine grams."
ANSWER = "The stone weighs nine grams. The lamp weighs seven grams."
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": NOTE},
            {"type": "text", "text": "What does the stone weigh? What does the lamp weigh?"},
        ],
    }
]
SIGNALS: list[type[CaptumSignal]] = [
    FeatureAblation,
    Shapley,
    KernelShap,
    Lime,
    IntegratedGradients,
    InputXGradient,
]


@pytest.fixture(scope="module")
def spans(reference: Tracer) -> tuple[Span, ...]:
    return reference.replay(MESSAGES, ANSWER).spans


@pytest.fixture
def scorer(reference: Tracer) -> ResponseScorer:
    return reference.scorer(MESSAGES, ANSWER)


def values(
    signal: SpanSignal, scorer: ResponseScorer, spans: Sequence[Span]
) -> list[dict[str, float]]:
    return [
        {unit: effect.value for unit, effect in found.items()}
        for found in signal.effects(scorer, spans)
    ]


def logprobs(
    scorer: ResponseScorer,
    spans: Sequence[Span],
    kept: Sequence[Sequence[bool]],
    operator: str = "attention",
) -> torch.Tensor:
    """Run one row after the other, without Captum: ``[rows, spans]``."""
    run = {"attention": naive.by_attention, "mean": naive.by_mean}[operator]
    return scorer.summed(torch.as_tensor(run(scorer, np.array(kept))).float(), spans)


def difference(
    scorer: ResponseScorer, spans: Sequence[Span], operator: str = "attention"
) -> list[float]:
    """Return f(all units) - f(no unit) for each span."""
    ends = logprobs(scorer, spans, [[True] * 3, [False] * 3], operator)
    found: list[float] = (ends[0] - ends[1]).tolist()
    return found


@pytest.mark.parametrize("operator", ["attention", "mean"])
def test_feature_ablation_equals_a_loop_of_ablations(
    scorer: ResponseScorer, spans: tuple[Span, ...], operator: str
) -> None:
    signal = FeatureAblation(operator=operator)
    assert signal.parameters["operator"] == operator
    found = values(signal, scorer, spans)
    assert scorer.forwards == 3
    everything = logprobs(scorer, spans, [[True] * 3], operator)[0]
    for index, unit in enumerate(scorer.units):
        without = logprobs(scorer, spans, [[i != index for i in range(3)]], operator)[0]
        for span, drop in enumerate((everything - without).tolist()):
            assert found[span][unit] == pytest.approx(drop, abs=1e-4, rel=2e-5)


def test_units_are_hidden_unless_another_operator_is_named(
    scorer: ResponseScorer, spans: tuple[Span, ...]
) -> None:
    """As omnitrace's own effects are measured; filled with a mean embedding, they differ."""
    hidden = values(FeatureAblation(operator="attention"), scorer, spans)
    assert values(FeatureAblation(), scorer, spans) == hidden
    assert values(FeatureAblation(operator="mean"), scorer, spans) != hidden
    with pytest.raises(PluginError, match="unknown operator 'nothing'"):
        values(FeatureAblation(operator="nothing"), scorer, spans)


def test_one_span_and_many_give_the_same(scorer: ResponseScorer, spans: tuple[Span, ...]) -> None:
    for signal in (
        FeatureAblation(),
        Shapley(permutations=3),
        KernelShap(samples=20),
        Lime(samples=20),
        IntegratedGradients(steps=8),
        InputXGradient(),
    ):
        both = values(signal, scorer, spans)
        for index, span in enumerate(spans):
            (alone,) = values(signal, scorer, [span])
            assert alone == pytest.approx(both[index], abs=1e-4, rel=2e-5), signal.name


def test_shapley_values_are_the_mean_over_permutations_and_sum_up(
    scorer: ResponseScorer, spans: tuple[Span, ...]
) -> None:
    sampled = values(Shapley(permutations=4, seed=3), scorer, spans)
    assert scorer.forwards <= 2 + 4 * 2
    for found, total in zip(sampled, difference(scorer, spans), strict=True):
        assert sum(found.values()) == pytest.approx(total, abs=1e-4, rel=2e-5)
    again = values(Shapley(permutations=4, seed=3), scorer, spans)
    assert again == sampled
    assert values(Shapley(permutations=1, seed=4), scorer, spans) != sampled
    exact = exact_shapley(scorer, spans)
    many = values(Shapley(permutations=240), scorer, spans)
    regressed = values(KernelShap(samples=500), scorer, spans)
    for span in range(2):
        scale = max(map(abs, exact[span].values()))
        assert many[span] == pytest.approx(exact[span], abs=0.2 * scale)
        assert regressed[span] == pytest.approx(exact[span], abs=0.2 * scale)


def exact_shapley(scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, float]]:
    result = [dict.fromkeys(scorer.units, 0.0) for _ in spans]
    orders = list(itertools.permutations(range(3)))
    for order in orders:
        kept = [[unit in order[:size] for unit in range(3)] for size in range(4)]
        found = logprobs(scorer, spans, kept)
        for position, unit in enumerate(order):
            gain = (found[position + 1] - found[position]).tolist()
            for span in range(len(spans)):
                result[span][scorer.units[unit]] += gain[span] / len(orders)
    return result


def test_kernel_shap_sums_to_the_difference(
    scorer: ResponseScorer, spans: tuple[Span, ...]
) -> None:
    found = values(KernelShap(samples=60), scorer, spans)
    assert scorer.forwards <= 8  # as many as there are sets of three units
    for each, total in zip(found, difference(scorer, spans), strict=True):
        assert sum(each.values()) == pytest.approx(total, abs=1e-2)


def test_forwards_run_in_batches(
    reference: Tracer, scorer: ResponseScorer, spans: tuple[Span, ...]
) -> None:
    sizes: list[int] = []

    def count(module: Any, args: Any, kwargs: Any) -> None:
        sizes.append(len(kwargs["inputs_embeds"]))

    handle = reference.adapter.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        FeatureAblation(operator="mean").effects(scorer, spans)
        # The beginning that all share, then without each of the three units, at once.
        assert sizes == [1, 3]
        sizes.clear()
        IntegratedGradients(steps=8).effects(scorer, spans)
        assert sizes == [8, 8]  # all steps of a span at once
    finally:
        handle.remove()


def test_integrated_gradients_are_captums_at_the_embedding_layer(
    scorer: ResponseScorer, spans: tuple[Span, ...]
) -> None:
    """As LayerIntegratedGradients sees the layer whose output the scorer replaces."""
    embedding = torch.nn.Identity()
    method = LayerIntegratedGradients(
        lambda given: scorer.summed(scorer.logprobs(embedding(given)), spans), embedding
    )
    nothing = scorer.masked(torch.zeros((1, 3), dtype=torch.bool))
    for span, found in enumerate(values(IntegratedGradients(steps=8), scorer, spans)):
        by_layer = method.attribute(scorer.embeddings, baselines=nothing, target=span, n_steps=8)
        for index, unit in enumerate(scorer.units):
            expected = float(by_layer[0, scorer.unit_of == index].sum())
            assert found[unit] == pytest.approx(expected, abs=1e-4, rel=2e-5)


def test_integrated_gradients_are_complete(scorer: ResponseScorer, spans: tuple[Span, ...]) -> None:
    found = values(IntegratedGradients(steps=100), scorer, spans)
    for each, total in zip(found, difference(scorer, spans, "mean"), strict=True):
        assert sum(each.values()) == pytest.approx(total, abs=0.02 * abs(total))


def test_input_times_gradient_is_the_dot_product(
    scorer: ResponseScorer, spans: tuple[Span, ...]
) -> None:
    (found,) = values(InputXGradient(), scorer, spans[:1])
    embeddings = scorer.embeddings.clone().requires_grad_()
    scorer.summed(scorer.logprobs(embeddings), spans[:1]).sum().backward()
    assert embeddings.grad is not None
    products = (embeddings * embeddings.grad).detach()[0].sum(dim=-1)
    for index, unit in enumerate(scorer.units):
        expected = float(products[scorer.unit_of == index].sum())
        assert found[unit] == pytest.approx(expected, abs=1e-4, rel=2e-5)


@pytest.mark.parametrize("kind", SIGNALS[:-1])  # the last is a first-order estimate
def test_the_evidence_matters_most(
    scorer: ResponseScorer, spans: tuple[Span, ...], kind: type[CaptumSignal]
) -> None:
    found = values(kind(), scorer, spans)  # type: ignore[call-arg]
    assert [max(each, key=each.__getitem__) for each in found] == ["text-3", "text-1"]


def test_one_unit_gets_the_whole_difference(reference: Tracer) -> None:
    content = [
        {"type": "text", "text": "The cup weighs five grams."},
        {"type": "text", "text": "What does the cup weigh?"},
    ]
    messages = [{"role": "user", "content": content}]
    response = "The cup weighs five grams."
    (span,) = reference.replay(messages, response).spans
    scorer = reference.scorer(messages, response)
    assert len(scorer.units) == 1
    ends = logprobs(scorer, [span], [[True], [False]])
    drop = float(ends[0, 0] - ends[1, 0])
    for kind in (FeatureAblation, Shapley, KernelShap):
        assert values(kind(), scorer, [span]) == [pytest.approx({"text-1": drop}, abs=1e-4)]
    (weight,) = values(Lime(), scorer, [span])
    assert 0 < weight["text-1"] <= drop * 1.01


@pytest.mark.parametrize("kind", SIGNALS)
def test_nothing_to_attribute_costs_nothing(
    reference: Tracer, spans: tuple[Span, ...], kind: type[CaptumSignal]
) -> None:
    given = read_request_and_response(reference.setup, MESSAGES, ANSWER, None, None)
    request, ids = given.request, given.ids
    sources = np.full_like(request.layout.unit_index, -1)
    layout = dataclasses.replace(request.layout, unit_index=sources, units=())
    inputs = request.inputs_with(ids, torch.device("cpu"))
    scorer = ResponseScorer(reference.adapter, inputs, layout, ids)
    assert kind().effects(scorer, spans) == [{}, {}]  # type: ignore[call-arg]
    assert kind().effects(scorer, []) == []  # type: ignore[call-arg]
    assert scorer.forwards == 0


def test_the_budget_bounds_the_samples_and_refuses_beforehand(
    scorer: ResponseScorer, spans: tuple[Span, ...]
) -> None:
    for signal in (
        Shapley(max_forwards=7),
        KernelShap(max_forwards=7),
        Lime(max_forwards=7),
        IntegratedGradients(max_forwards=17),
        InputXGradient(max_forwards=2),
        FeatureAblation(max_forwards=4),
    ):
        before = scorer.forwards
        signal.effects(scorer, spans)
        assert 0 < scorer.forwards - before <= signal.max_forwards, signal.name
    before = scorer.forwards
    for signal in (
        FeatureAblation(max_forwards=3),
        Shapley(max_forwards=3),
        Shapley(permutations=9, max_forwards=10),
        KernelShap(max_forwards=4),
        Lime(samples=20, max_forwards=19),
        IntegratedGradients(max_forwards=15),
        IntegratedGradients(steps=10, max_forwards=15),
        InputXGradient(max_forwards=1),
    ):
        with pytest.raises(InputError, match="forward passes, more than max_forwards="):
            signal.effects(scorer, spans)
    with pytest.raises(InputError, match="4 samples for 3 units"):
        Lime(samples=4).effects(scorer, spans)
    assert scorer.forwards == before


def test_random_numbers_are_left_alone(scorer: ResponseScorer, spans: tuple[Span, ...]) -> None:
    before = torch.get_rng_state()
    for kind in SIGNALS:
        kind().effects(scorer, spans)  # type: ignore[call-arg]
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_is_shown_on_request_and_on_stderr(
    scorer: ResponseScorer, spans: tuple[Span, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    Shapley(permutations=2).effects(scorer, spans)
    assert capfd.readouterr() == ("", "")
    Shapley(permutations=2, progress=True).effects(scorer, spans)
    out, err = capfd.readouterr()
    assert out == ""
    assert "shapley" in err
    assert "100%" in err  # also where permutations share what they run


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (FeatureAblation, {"max_forwards": 0}),
        (Shapley, {"permutations": 0}),
        (Shapley, {"seed": -1}),
        (KernelShap, {"samples": 2.5}),
        (Lime, {"alpha": 0.0}),
        (Lime, {"alpha": "strong"}),
        (Lime, {"alpha": float("inf")}),
        (IntegratedGradients, {"steps": True}),
    ],
)
def test_bad_parameters_are_named(kind: type[CaptumSignal], wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(InputError, match=f"{name} is {wrong[name]!r}"):
        kind(**wrong)


def test_the_package_registers_all_six_through_the_hooks() -> None:
    found = build_registry({"omnitrace": builtin}).signals
    assert {kind.name for kind in SIGNALS} == set(CAPTUM_SIGNALS)
    for kind in SIGNALS:
        entry = found[kind.name]
        signal = entry.make(max_forwards=99)
        assert type(signal) is kind
        assert signal.parameters["max_forwards"] == 99
        assert isinstance(signal, SpanSignal)
        assert not isinstance(signal, TokenSignal)
        assert entry.package == "omnitrace"
        assert entry.summary
        assert all(
            isinstance(each, int | float | str | None) for each in signal.parameters.values()
        )


def test_effects_are_plain_numbers(scorer: ResponseScorer, spans: tuple[Span, ...]) -> None:
    for kind in SIGNALS:
        for found in kind().effects(scorer, spans):  # type: ignore[call-arg]
            assert list(found) == list(scorer.units)
            assert all(
                type(each) is Effect and type(each.value) is float for each in found.values()
            )
