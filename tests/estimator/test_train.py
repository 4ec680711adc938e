"""Training from requests: what is measured, what is kept, and what goes on after a stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitrace import InputError, OmnitraceError, Tracer
from omnitrace.ablation import MaskDealer, leave_one_out
from omnitrace.estimator import (
    CollectOptions,
    Collector,
    Estimator,
    FeatureRecipe,
    FitOptions,
    Learned,
    TrainOptions,
    load,
    pooled,
    save,
    train_estimator,
)
from omnitrace.estimator.weights import FitKind
from omnitrace.evaluation.metrics.faithfulness import lds
from omnitrace.evaluation.unit_scores import span_scores
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.sources import part_reading, read_response
from omnitrace.sources.request_files import RequestEntry, RequestProblem, read_requests
from tests.helpers.estimator_training import OPTIONS, SMALL, request_of
from tests.helpers.text_adapters import text_adapter


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    """A tiny untrained model: what is measured must be right whatever it says."""
    return Tracer(adapter=text_adapter(), signal="attention-mean")


@pytest.fixture(scope="module")
def requests() -> list[RequestEntry]:
    return [request_of(number) for number in range(5)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def learned(tracer: Tracer, requests: list[RequestEntry], cache: Path) -> Learned:
    return train_estimator(tracer, requests, OPTIONS, cache=cache)


@pytest.fixture
def scorers(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the answers that are measured."""
    made: list[int] = []
    original = type(tracer).scorer

    def counted(self: Tracer, *args: Any, **options: Any) -> Any:
        made.append(1)
        return original(self, *args, **options)

    monkeypatch.setattr(type(tracer), "scorer", counted)
    return made


def test_the_card_says_what_was_done(learned: Learned, tracer: Tracer) -> None:
    card = learned.card
    assert (card.model.name, card.model.adapter) == (tracer.adapter.source, "causal_lm")
    assert card.model.layers == tuple(sorted(tracer.setup.layers))
    assert learned.fitted.weights.shape == (learned.features + 5,)
    assert (card.training.examples, card.training.held_out, card.training.spans) == (4, 1, 8)
    assert card.training.modalities == ("text",)
    assert card.fit.chosen["penalty"] in (10.0, 100.0)
    assert set(card.quality) == {"lds", "size-controlled-lds"}
    methods = {"estimator", "attention-mean", "uniform", "unit-size"}
    assert set(card.quality["lds"]) == methods
    assert card.quality["lds"]["estimator"].count == 2  # spans of the held-out request
    assert card.calibration.quantile is None  # of one example


def test_what_is_learnt_is_what_was_measured(tracer: Tracer) -> None:
    request = request_of(0)
    example = Collector(tracer, SMALL).example(request)
    trace = tracer.replay(request.messages, request.response)
    found = tracer.effects(trace, example.masks, share=False)
    np.testing.assert_allclose(example.logprobs, found.span_logprobs, atol=1e-3)
    dealer = MaskDealer([len(unit.positions) for unit in trace.units], example="r0")
    assert not any(dealer.is_for_evaluation(mask) for mask in example.masks)
    np.testing.assert_array_equal(example.masks[1::2], ~example.masks[::2])
    assert example.tokens.tolist() == [s.token_end - s.token_start for s in trace.spans]
    assert example.modalities == ("text",) * 5


def test_features_are_those_of_the_signal(tracer: Tracer) -> None:
    """The mean over heads and layers of raw sums is what attention-mean says."""
    request = request_of(1)
    options = dataclasses.replace(SMALL, recipe=FeatureRecipe(normalise="raw"))
    example = Collector(tracer, options).example(request)
    trace = tracer.replay(request.messages, request.response)
    expected = span_scores(trace) / example.tokens[:, None]
    np.testing.assert_allclose(example.features.mean(axis=1), expected, rtol=1e-4, atol=1e-6)


def test_held_out_requests_are_evaluated_by_masks_of_their_own(tracer: Tracer) -> None:
    request = request_of(2)
    held = Collector(tracer, SMALL).held_out(request)
    trace = tracer.replay(request.messages, request.response)
    dealer = MaskDealer([len(unit.positions) for unit in trace.units], example="r2")
    alone = leave_one_out(5)
    for mask in np.concatenate([held.example.masks, held.sized_masks]):
        assert dealer.is_for_evaluation(mask)
        assert not (mask == alone).all(axis=1).any()
    found = tracer.effects(trace, alone)
    np.testing.assert_allclose(held.effects, found.drops.T, atol=1e-3)
    np.testing.assert_allclose(held.baseline, span_scores(trace))


def test_the_quality_is_the_lds_of_held_out_requests(
    learned: Learned, tracer: Tracer, requests: list[RequestEntry], cache: Path
) -> None:
    collector = Collector(tracer, SMALL, cache=cache)
    (name,) = {r.id for r in requests} - _trained_on(cache)
    held = collector.held_out(next(r for r in requests if r.id == name))
    scores = learned.fitted.scores(held.example.features, held.example.modalities)
    values = lds(scores, held.example.masks, held.example.logprobs)
    assert learned.card.quality["lds"]["estimator"].value == pytest.approx(np.mean(values))


def _trained_on(cache: Path) -> set[str]:
    from omnitrace.estimator.examples import Example, load_example

    found = [load_example(path) for path in (cache / "examples").iterdir()]
    return {each.name for each in found if isinstance(each, Example)}


def test_a_stopped_run_goes_on(
    tracer: Tracer,
    requests: list[RequestEntry],
    learned: Learned,
    tmp_path: Path,
    scorers: list[int],
) -> None:
    def stop(text: str) -> None:
        if "(3 of 4)" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_estimator(tracer, requests, OPTIONS, cache=tmp_path, progress=stop)
    assert len(scorers) == 3
    again = train_estimator(tracer, requests, OPTIONS, cache=tmp_path)
    assert len(scorers) == 5
    assert again.fitted.weights.tobytes() == learned.fitted.weights.tobytes()
    assert again.card.training.data == learned.card.training.data


@pytest.mark.parametrize("kind", ["nnls", "mlp"])
def test_another_fit_measures_nothing_again(
    kind: FitKind,
    tracer: Tracer,
    requests: list[RequestEntry],
    learned: Learned,
    cache: Path,
    scorers: list[int],
) -> None:
    options = dataclasses.replace(OPTIONS, fit=FitOptions(kind=kind, lengths=(10,)))
    found = train_estimator(tracer, requests, options, cache=cache)
    assert scorers == []
    assert found.card.fit.kind == kind
    assert (found.fitted.network is not None) == (kind == "mlp")
    assert found.card.training.data == learned.card.training.data


def test_other_answers_are_other_examples(
    tracer: Tracer, learned: Learned, cache: Path, scorers: list[int]
) -> None:
    collector = Collector(tracer, SMALL, cache=cache)
    before = len(list((cache / "examples").iterdir()))
    collector.example(request_of(0, response="The cup costs nine coins."))
    assert len(scorers) == 1
    assert len(list((cache / "examples").iterdir())) == before + 1


def test_effects_of_a_trained_file(learned: Learned, tracer: Tracer, tmp_path: Path) -> None:
    """From the file to effects: those of the weights on the features of the replayed answer."""
    made = Estimator(save(tmp_path / "e.safetensors", learned))
    made.check_model(tracer.adapter, tracer.setup.sources)
    request = request_of(3)
    example = Collector(tracer, SMALL).example(request)
    trace = tracer.replay(request.messages, request.response)
    loaded = load(tmp_path / "e.safetensors")
    expected = loaded.calibration.effects(
        loaded.fitted.scores(example.features[1], example.modalities), float(example.tokens[1])
    )
    import torch

    # Shares of tokens that are all alike are the span's.
    reduced = torch.from_numpy(example.features[1]).expand(int(example.tokens[1]), -1, -1)
    np.testing.assert_allclose(pooled(reduced, FeatureRecipe()), example.features[1], atol=1e-6)
    found = made.effects_of(reduced, trace.units)
    np.testing.assert_allclose([e.value for e in found.values()], expected, rtol=1e-5)


def test_through_rollout_features_while_the_model_writes(tracer: Tracer) -> None:
    """A trace, a stream and a replay reduce an answer as the estimator learnt it."""
    recipe = FeatureRecipe(rollout=True, pooling="max", values=True)
    options = dataclasses.replace(SMALL, recipe=recipe)
    requests = [request_of(i) for i in range(4)]
    learned = train_estimator(tracer, requests, TrainOptions(collect=options))
    assert learned.features == 2 * len(learned.card.model.layers) * learned.card.model.heads
    with_it = Tracer(adapter=tracer.adapter, signal=Estimator(learned))
    request = dataclasses.replace(request_of(0), response=None)
    written = with_it.trace(request.messages, max_new_tokens=6)
    example = Collector(tracer, options).example(request_of(0, response=list(written.token_ids)))
    spans = [span for span in written.spans if span.token_end > span.token_start]
    for span, features, tokens in zip(spans, example.features, example.tokens, strict=True):
        scores = learned.fitted.scores(features, example.modalities)
        expected = learned.calibration.effects(scores, float(tokens))
        found = [span.effects[unit.id].value for unit in written.units]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    *_, last = with_it.stream(request.messages, max_new_tokens=6)
    assert last.trace.spans == written.spans


def test_spans_teach_alike_where_features_know_the_words(tracer: Tracer) -> None:
    requests = [request_of(i) for i in range(3)]
    noise = {}
    for recipe in (FeatureRecipe(), FeatureRecipe(gradients="total")):
        options = TrainOptions(collect=dataclasses.replace(SMALL, recipe=recipe))
        noise[recipe.gradients] = train_estimator(tracer, requests, options).card.fit.noise
    assert noise == {"none": 1.0, "total": 0.0}


def test_what_cannot_be_used_is_reported_and_left_out(tracer: Tracer, cache: Path) -> None:
    bad = RequestProblem("bad", InputError("no request"))
    single = request_of(9, sentences=1)
    told: dict[str, OmnitraceError] = {}
    entries = [*(request_of(i) for i in range(5)), bad, single]
    found = train_estimator(tracer, entries, OPTIONS, cache=cache, failed=told.__setitem__)
    assert set(told) == {"bad", "r9"}
    assert "1 units to ablate" in str(told["r9"])
    assert found.card.training.examples + found.card.training.held_out == 5
    with pytest.raises(InputError, match=r"no request|1 units"):
        train_estimator(tracer, entries, OPTIONS, cache=cache)


@pytest.mark.parametrize("response", ["", "  ", [], ["a"], [True], 7, {"words": "x"}])
def test_responses_that_are_none(tracer: Tracer, response: Any) -> None:
    with pytest.raises(InputError, match=r"response(\[0\])? (is|has)"):
        Collector(tracer, SMALL).example(request_of(0, response=response))


def test_the_forms_of_a_response_teach_alike(tracer: Tracer, cache: Path) -> None:
    text = "The lamp costs two coins."
    plain = Collector(tracer, SMALL, cache=cache).example(request_of(0, response=text))
    given = read_response({"choices": [{"index": 0, "message": {"content": text}}]})
    found = Collector(tracer, SMALL, cache=cache).example(request_of(0, response=given))
    np.testing.assert_array_equal(found.logprobs, plain.logprobs)


def test_without_a_response_the_model_answers(tracer: Tracer) -> None:
    request = dataclasses.replace(request_of(0), response=None)
    example = Collector(tracer, SMALL).example(request)
    assert 1 <= example.tokens.sum() <= 6
    ids = list(tracer.trace(request.messages, max_new_tokens=6).token_ids)
    given = Collector(tracer, SMALL).example(request_of(0, response=ids))
    np.testing.assert_array_equal(given.logprobs, example.logprobs)


def test_two_units_still_teach(tracer: Tracer) -> None:
    collector = Collector(tracer, SMALL)
    example = collector.example(request_of(0, sentences=2))
    assert sorted(map(tuple, example.masks.tolist())) == [(False, True), (True, False)]
    held = collector.held_out(request_of(0, sentences=2))
    assert len(held.example.masks) == 0
    assert held.effects.shape == (2, 2)


def test_every_modality(reference: Tracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = make_sample(
        held_out_seed(0), questions=1, order=("text", "image", "audio"), long=False
    )
    (request,) = read_requests(write_sample(sample, tmp_path))
    assert isinstance(request, RequestEntry)
    options = dataclasses.replace(SMALL, masks=4, recipe=FeatureRecipe(values=True))
    decoded: list[str] = []
    for kind, decode in (("image", part_reading.load_image), ("audio", part_reading.load_audio)):

        def counted(*args: Any, of: str = kind, decode: Any = decode, **named: Any) -> Any:
            decoded.append(of)
            return decode(*args, **named)

        monkeypatch.setattr(part_reading, f"load_{kind}", counted)
    example = Collector(reference, options, cache=tmp_path / "cache").example(request)
    assert sorted(decoded) == ["audio", "image"]
    assert set(example.modalities) == {"text", "image", "audio"}
    np.testing.assert_allclose(example.features.sum(axis=2), 1.0, atol=1e-4)


def weighing(number: int) -> RequestEntry:
    """Return a request about weights; the response says one that is there, and one that is not."""
    things = ("cup", "key", "ring", "lamp", "book")
    weights = ("five", "eight", "two", "six", "nine")
    first, absent = number % 4, 4
    texts = [f"The {things[i]} weighs {weights[i]} grams." for i in range(4)]
    content = [{"type": "text", "text": each, "source_id": str(i)} for i, each in enumerate(texts)]
    content.append({"type": "text", "text": f"What does the {things[first]} weigh?"})
    response = f"The {things[first]} weighs {weights[first]} grams."
    raw = {"response": response if number % 2 else f"{response} It weighs {weights[absent]} grams."}
    return RequestEntry(f"w{number}", [{"role": "user", "content": content}], Path(), raw)


def test_verified_effects_teach(reference: Tracer, tmp_path: Path) -> None:
    collect = dataclasses.replace(SMALL, target="verified")
    example = Collector(reference, collect, cache=tmp_path).example(weighing(1))
    np.testing.assert_array_equal(example.masks, np.concatenate([np.zeros((1, 4)), np.eye(4)]))
    effects = example.logprobs[1:, 0]
    assert not example.logprobs[0].any()
    assert effects[1] > 1.0  # the unit that says it
    assert not effects[[0, 2, 3]].any()
    options = dataclasses.replace(OPTIONS, collect=collect)
    requests = [weighing(number) for number in range(4)]
    learned = train_estimator(reference, requests, options, cache=tmp_path)
    training = learned.card.training
    assert (training.target, training.masks, training.keep_rates) == ("verified", 0, ())
    assert learned.card.calibration.least == learned.calibration.least
    assert load(save(tmp_path / "e", learned)).calibration == learned.calibration


def test_too_few_requests(tracer: Tracer, requests: list[RequestEntry]) -> None:
    with pytest.raises(InputError, match="2 requests to train on"):
        train_estimator(tracer, requests[:2], OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": 1}, "masks is 1"),
        ({"evaluation_masks": 3}, "evaluation_masks is 3"),
        ({"keep_rates": (0.5, 1.0)}, "keep rates"),
        ({"keep_rates": ()}, "keep rates"),
        ({"operator": "atention"}, "did you mean 'attention'"),
        ({"target": "effects"}, "target is 'effects'"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OmnitraceError, match=message):
        CollectOptions(**options)


@pytest.mark.parametrize("options", [{"held_out": 1.0}, {"level": 0.0}])
def test_shares_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="above 0 and below 1"):
        TrainOptions(**options)
