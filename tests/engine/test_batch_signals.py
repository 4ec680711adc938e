"""Traces of a batch are those of its requests alone: for every signal, and on every kind of model.

Span signals and verification measure each response by itself; what they start from is the batch's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from omnitrace import Tracer, builtin
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.plugins.registry import build_registry
from omnitrace.reference.training.build import build_tokenizer
from omnitrace.testing.families import tiny_family
from omnitrace.testing.requests import request
from tests.helpers import odd_families
from tests.helpers.live_signals import DepthWeighted, with_signal
from tests.helpers.many_requests import REQUESTS, assert_same, single
from tests.helpers.text_adapters import text_adapter
from tests.helpers.tiny_models import COMMON, tiny

SIGNALS = list(build_registry({"omnitrace": builtin}).signals)
NEW = 4
# What the estimator in the package was trained for is the reference model.
OF_ANY_MODEL = [name for name in SIGNALS if name != "estimator"]


@functools.cache
def tiny_tracer() -> Tracer:
    return Tracer(adapter=text_adapter(), signal="attention-mean")


def assert_batch(tracer: Tracer, requests: list[Any], new: int = NEW) -> None:
    """Compare a batch, and the replay of its responses in one, with each request alone."""
    expected = [single(tracer, each, new) for each in requests]
    found = list(tracer.trace_many(requests, max_new_tokens=new))
    pairs = [(each, trace.token_ids) for each, trace in zip(requests, expected, strict=True)]
    replayed = list(tracer.replay_many(pairs))
    for each, live, again in zip(expected, found, replayed, strict=True):
        assert live.provenance.generation["batch"] == {"size": len(requests)}
        assert again.provenance.generation["batch"] == {"size": len(requests)}
        assert_same(live, each)
        assert_same(again, each)


@pytest.mark.parametrize("signal", OF_ANY_MODEL)
def test_every_signal_on_a_text_model(signal: str) -> None:
    assert_batch(tiny_tracer().with_options(signal=signal), REQUESTS)


@pytest.mark.parametrize("signal", SIGNALS)
def test_every_signal_on_the_reference_model(reference: Tracer, signal: str) -> None:
    assert_batch(reference.with_options(signal=signal), REQUESTS[::2])


@pytest.mark.parametrize("signal", ["value-attention", "grad-sam"])
def test_a_pretrained_model(smollm2: Tracer, signal: str) -> None:
    assert_batch(smollm2.with_options(signal=signal), REQUESTS[::2], new=3)


def test_verified_supports(reference: Tracer) -> None:
    verified = reference.with_options(signal=None, verify=True)
    assert_batch(verified, REQUESTS[::2])


def test_a_live_span_signal() -> None:
    assert_batch(with_signal(tiny_tracer(), DepthWeighted()), REQUESTS)


@pytest.mark.parametrize("signal", ["value-attention", "grad-sam"])
def test_media(reference: Tracer, signal: str) -> None:
    kinds = ("image", "audio", "video")
    requests = [request(("text", *kinds)), request(kinds), request(("text", *kinds))]
    assert_batch(reference.with_options(signal=signal), requests)


@pytest.mark.parametrize("family", ["qwen3-vl", "gemma3"])
def test_pictures_of_other_families(family: str) -> None:
    tracer = Tracer(adapter=tiny_family(family), signal="value-attention")
    assert_batch(tracer, [request(("text", "image")), request(("image",))])


def _of(make: Callable[[], Any]) -> Tracer:
    tokenizer = build_tokenizer()
    model = make()
    return Tracer(adapter=CausalLMAdapter(model, tokenizer), signal="value-attention")


@pytest.mark.parametrize(
    "family", ["mistral-sliding", "gemma3-mixed-window", "gemma2-softcap-eager"]
)
def test_windows_and_softcaps(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMON, "vocab_size", len(build_tokenizer()))
    assert_batch(_of(lambda: tiny(family)), REQUESTS)


@pytest.mark.parametrize(
    "make",
    [
        lambda **size: odd_families.made("Llama4", "Llama4TextConfig", **LLAMA4, **size),
        odd_families.deepseek_v3,
        lambda **size: odd_families.made("GptOss", **GPT_OSS, **size),
        lambda **size: odd_families.made("OPT", ffn_dim=48, word_embed_proj_dim=32, **size),
    ],
    ids=["chunks", "latents", "sinks", "positions-in-a-table"],
)
def test_odd_families(make: Callable[..., Any]) -> None:
    assert_batch(_of(lambda: make(vocab_size=len(build_tokenizer()))), REQUESTS)


def test_gradients_with_windows_shorter_than_the_prompts() -> None:
    def mistral() -> Any:
        return odd_families.made("Mistral", sliding_window=16, vocab_size=len(build_tokenizer()))

    assert_batch(_of(mistral).with_options(signal="grad-sam"), REQUESTS)


LLAMA4 = {
    "head_dim": 8,
    "num_local_experts": 2,
    "intermediate_size_mlp": 32,
    "attention_chunk_size": 6,
    "no_rope_layer_interval": 2,
}
GPT_OSS = {
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "sliding_window": 6,
    "head_dim": 8,
    "attention": "eager",
}
