"""Requests in batches: order, errors, what runs alone and why, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, Trace, Tracer
from omnitrace.errors import ConformanceError
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.models.padding import refuses_padding
from omnitrace.reference.training.build import build_tokenizer
from tests.helpers.hybrid_models import hybrid
from tests.helpers.many_requests import REQUESTS, assert_same, single
from tests.helpers.text_adapters import own_text_adapter, text_adapter

NEW = 6


@pytest.fixture(scope="module")
def tiny() -> Tracer:
    return Tracer(adapter=text_adapter(), signal="value-attention")


def alone(trace: Trace) -> str | None:
    reason: str | None = trace.provenance.generation.get("batch", {}).get("alone")
    return reason


def test_traces_come_in_the_order_of_the_requests(tiny: Tracer) -> None:
    asked = [*REQUESTS, *REQUESTS[::-1], REQUESTS[1]]
    traces = list(tiny.trace_many(asked, batch_size=2, window=3, max_new_tokens=NEW))
    for found, request in zip(traces, asked, strict=True):
        assert_same(found, single(tiny, request, NEW))


def test_requests_are_read_as_far_as_they_are_needed(tiny: Tracer) -> None:
    read = []

    def requests() -> Iterator[Any]:
        for number, request in enumerate(REQUESTS * 4):
            read.append(number)
            yield request

    traces = tiny.trace_many(requests(), batch_size=2, window=2, max_new_tokens=2)
    assert read == []
    next(traces)
    assert read == [0, 1]


def test_a_request_that_fails_does_not_lose_the_others(tiny: Tracer) -> None:
    asked = [REQUESTS[0], [{"role": "user", "content": []}], *REQUESTS[1:]]
    found = list(tiny.trace_many(asked, batch_size=4, on_error="return", max_new_tokens=2))
    assert [type(each) for each in found] == [Trace, InputError, Trace, Trace]
    traces = tiny.trace_many(asked, batch_size=4, max_new_tokens=2)
    assert isinstance(next(traces), Trace)
    with pytest.raises(InputError):
        next(traces)


class Broken:
    """A signal that fails at long contexts."""

    name = "broken"
    needs = frozenset[Any]()
    parameters: dict[str, Any] = {}  # noqa: RUF012 - a fake
    error: Exception = RuntimeError("the signal is broken")

    def __init__(self, context: int) -> None:
        self._context = context

    def layers(self, available: Any) -> Any:
        return available

    def score(self, rows: Any) -> torch.Tensor:
        weights = next(iter(rows)).mean()
        if weights.shape[-1] >= self._context:
            raise self.error
        return weights


def test_a_batch_that_fails_says_which_request_it_was(
    tiny: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(**inputs: Any) -> Any:
        if inputs["input_ids"].shape[0] > 1 or inputs["input_ids"].shape[1] == longest:
            raise RuntimeError("out of memory")
        return plain(**inputs)

    longest = len(single(tiny, REQUESTS[1], 1).prompt_ids)
    refuses_padding(tiny.adapter, 4)  # tries the model once
    plain = tiny.adapter.model.generate
    monkeypatch.setattr(tiny.adapter.model, "generate", generate)
    with pytest.warns(RuntimeWarning, match="one at a time: the batch failed: RuntimeError"):
        found = list(tiny.trace_many(REQUESTS, on_error="return", max_new_tokens=2))
    assert [type(each) for each in found] == [Trace, RuntimeError, Trace]


def test_a_signal_that_fails_at_one_request_fails_there_alone(tiny: Tracer) -> None:
    broken = tiny.with_options(signal=Broken(len(single(tiny, REQUESTS[1], 1).prompt_ids)))
    found = list(broken.trace_many(REQUESTS, on_error="return", max_new_tokens=2))
    assert [type(each) for each in found] == [Trace, ConformanceError, Trace]
    assert isinstance(found[0], Trace)
    assert found[0].provenance.generation["batch"] == {"size": 3}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"no_repeat_ngram_size": 2}, "no_repeat_ngram_size would count the padding"),
        ({"stop_strings": ["."]}, "stop_strings is made for one response"),
    ],
)
def test_settings_that_see_the_padding_run_alone(
    tiny: Tracer, options: dict[str, Any], reason: str
) -> None:
    if "stop_strings" in options:
        options = {**options, "tokenizer": tiny.adapter.tokenizer}
    with pytest.warns(RuntimeWarning, match=reason) as said:
        traces = list(tiny.trace_many(REQUESTS, max_new_tokens=2, **options))
    assert len([each for each in said if each.category is RuntimeWarning]) == 1
    assert all(reason in (alone(trace) or "") for trace in traces)


@pytest.mark.parametrize("options", [{"repetition_penalty": 1.7}, {"min_new_tokens": NEW}])
def test_settings_that_do_not_see_it_share_a_batch(tiny: Tracer, options: Any) -> None:
    traces = list(tiny.trace_many(REQUESTS, max_new_tokens=NEW, **options))
    for found, request in zip(traces, REQUESTS, strict=True):
        assert found.provenance.generation["batch"] == {"size": len(REQUESTS)}
        assert_same(found, tiny.trace(request, max_new_tokens=NEW, **options))


def test_each_sequence_ends_by_itself() -> None:
    tracer = Tracer(adapter=own_text_adapter(), signal="value-attention")
    ids = [single(tracer, request, 8).token_ids for request in REQUESTS]
    stop = next(token for token in ids[0][:-1] if token not in ids[2][: len(ids[0])])
    tracer.adapter.model.generation_config.eos_token_id = stop
    expected = [single(tracer, request, 8) for request in REQUESTS]
    assert len({len(trace.token_ids) for trace in expected}) > 1
    found = list(tracer.trace_many(REQUESTS, max_new_tokens=8))
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)
        assert ours.provenance.finished == theirs.provenance.finished


def test_models_that_carry_states_run_alone() -> None:
    tokenizer = build_tokenizer()
    model = hybrid("lfm2", vocab_size=len(tokenizer))
    tracer = Tracer(adapter=CausalLMAdapter(model, tokenizer), signal="value-attention")
    with pytest.warns(RuntimeWarning, match="carry what they have read in states"):
        traces = list(tracer.trace_many(REQUESTS[:2], max_new_tokens=3))
    assert all(alone(trace) for trace in traces)


class Unpadded(CausalLMAdapter):
    """An adapter that loses the mask, so that padding is read as text."""

    def collate(self, inputs: Any, *, side: Any = "left") -> dict[str, torch.Tensor]:
        joined = super().collate(inputs, side=side)
        return joined | {"attention_mask": torch.ones_like(joined["attention_mask"])}


def test_a_model_that_reads_padding_runs_alone() -> None:
    adapter = own_text_adapter()
    broken = Unpadded(adapter.model, adapter.tokenizer)
    assert "other logits for a padded prompt" in (refuses_padding(broken, 4) or "")
    with pytest.warns(RuntimeWarning, match="one at a time"):
        list(Tracer(adapter=broken).trace_many(REQUESTS, max_new_tokens=2))


def test_one_request_a_batch_is_the_plain_trace(tiny: Tracer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = list(tiny.trace_many(REQUESTS[:1], batch_size=1, seed=3, max_new_tokens=2))
    assert "batch" not in found[0].provenance.generation
    np.testing.assert_array_equal(found[0].scores, single(tiny, REQUESTS[0], 2).scores)


def test_sampling_without_a_seed(tiny: Tracer) -> None:
    traces = tiny.trace_many(REQUESTS, do_sample=True, max_new_tokens=3)
    assert [len(trace.token_ids) for trace in traces] == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seed": 1}, "seed is 1 for batches of 8"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"window": 3}, "window is 3"),
        ({"on_error": "skip"}, "on_error is 'skip'"),
        ({"max_new_token": 3}, "no argument of generate"),
    ],
)
def test_wrong_options_are_refused_at_once(
    tiny: Tracer, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        tiny.trace_many(iter([]), **options)


def test_wrong_options_of_replays_are_refused_at_once(tiny: Tracer) -> None:
    with pytest.raises(InputError, match="batch_size is -1"):
        tiny.replay_many([], batch_size=-1)
    with pytest.raises(InputError, match="against"):
        tiny.replay_many([], against="x")  # type: ignore[call-overload]


def test_replays_of_other_lengths_and_texts(tiny: Tracer) -> None:
    responses: list[Any] = ["The lamp is red.", [5, 9, 5], "It is."]
    pairs = list(zip(REQUESTS, responses, strict=True))
    for found, (request, response) in zip(tiny.replay_many(pairs), pairs, strict=True):
        expected = tiny.replay(request, response)
        assert_same(found, expected)
        assert expected.provenance.generation.items() <= found.provenance.generation.items()
