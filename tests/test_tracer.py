"""The tracer on real models: what it writes, what it keeps, and that it disturbs nothing."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation.streamers import BaseStreamer

from omnitrace import (
    EndEvent,
    InputError,
    NotSupportedError,
    PluginError,
    SelectionConfig,
    SourceOptions,
    SpanEvent,
    TokenEvent,
    Trace,
    Tracer,
)
from omnitrace.types import PositionKind
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.tiny_models import tiny
from tests.helpers.tower_request import MESSAGES, NOTE


@pytest.fixture(scope="module")
def trace(smollm2: Tracer) -> Trace:
    return smollm2.trace(MESSAGES, max_new_tokens=40)


def untraced(tracer: Tracer, **kwargs: Any) -> list[int]:
    tokenizer = tracer.adapter.tokenizer
    text = NOTE + "\n\n" + MESSAGES[0]["content"][1]["text"]  # type: ignore[index]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    ids = tracer.adapter.model.generate(**inputs, **kwargs)
    return ids[0, inputs["input_ids"].shape[1] :].tolist()


def test_a_trace_is_consistent(trace: Trace, smollm2: Tracer) -> None:
    tokens, prompt = len(trace.token_ids), len(trace.prompt_ids)
    assert trace.scores.shape == (tokens, prompt + tokens)
    assert trace.scores.dtype == np.float32
    np.testing.assert_allclose(trace.scores.sum(axis=1), 1, atol=1e-4)
    for t in range(tokens):
        assert not trace.scores[t, prompt + t :].any()
    decoded = smollm2.adapter.tokenizer.decode(trace.token_ids, skip_special_tokens=True)
    assert trace.text == decoded
    assert "".join(token.text for token in trace.tokens) == trace.text
    for span in trace.spans:
        assert trace.text[span.start : span.end] == span.text
        assert 0 <= span.grounding <= 1
        assert span.ungrounded == (not span.supports)
    quotes = [unit.preview for unit in trace.units]
    assert quotes == [
        "The tower is 324 metres tall.",
        "Gustave Eiffel built it in 1889.",
        "Dr. Smith saw it in 2003.",
    ]
    kinds = set(trace.layout.kinds.tolist())
    assert kinds == {PositionKind.TEMPLATE, PositionKind.INSTRUCTION, PositionKind.SOURCE}


def test_the_provenance_says_how_the_trace_was_made(trace: Trace, smollm2: Tracer) -> None:
    provenance = trace.provenance
    assert provenance.model == "SmolLM2-135M-Instruct"
    assert provenance.attention == "sdpa"
    assert provenance.signal["name"] == "attention-mean"
    assert provenance.signal["layers"] == list(range(30))
    assert provenance.generation["max_new_tokens"] == 40
    assert provenance.versions["torch"] == torch.__version__.partition("+")[0]
    assert not smollm2.trace(MESSAGES, max_new_tokens=2).provenance.finished


def test_a_real_model_is_traced_to_the_sentence_that_it_repeats(trace: Trace) -> None:
    first = trace.spans[0]
    assert "324" in first.text
    assert first.supports[0].unit.preview == "The tower is 324 metres tall."


def test_greedy_ids_are_those_of_the_untraced_model(trace: Trace, smollm2: Tracer) -> None:
    expected = untraced(smollm2, max_new_tokens=40, do_sample=False)
    assert list(trace.token_ids) == expected


def test_sampled_ids_are_those_of_the_untraced_model(smollm2: Tracer) -> None:
    settings = {"do_sample": True, "temperature": 0.9, "top_k": 40, "max_new_tokens": 24}
    torch.manual_seed(11)
    expected = untraced(smollm2, **settings)
    torch.manual_seed(11)
    assert list(smollm2.trace(MESSAGES, **settings).token_ids) == expected  # type: ignore[arg-type]
    before = torch.get_rng_state()
    traced = smollm2.trace(MESSAGES, seed=11, **settings)  # type: ignore[arg-type]
    assert list(traced.token_ids) == expected
    assert torch.equal(torch.get_rng_state(), before)
    assert traced.provenance.seed == 11


def test_the_model_is_left_as_it_was_found(smollm2: Tracer) -> None:
    model = smollm2.adapter.model
    before = state(model)
    smollm2.trace(MESSAGES, max_new_tokens=3)
    assert_unchanged(model, before)


class Failing(BaseStreamer):
    """A user's own streamer that fails at the third token."""

    def __init__(self) -> None:
        self.seen = 0

    def put(self, value: torch.Tensor) -> None:
        self.seen += 1
        if self.seen == 4:
            raise RuntimeError("user code")

    def end(self) -> None:
        pass


def test_the_model_is_left_as_it_was_found_after_an_exception(smollm2: Tracer) -> None:
    model = smollm2.adapter.model
    before = state(model)
    with pytest.raises(RuntimeError, match="user code"):
        smollm2.trace(MESSAGES, max_new_tokens=8, streamer=Failing())
    assert_unchanged(model, before)


def test_a_training_model_stays_in_training_mode(smollm2: Tracer) -> None:
    model = smollm2.adapter.model
    model.train()
    try:
        smollm2.trace(MESSAGES, max_new_tokens=2)
        assert model.training
    finally:
        model.eval()


def test_streaming_gives_the_same_result(trace: Trace, smollm2: Tracer) -> None:
    events = list(smollm2.stream(MESSAGES, max_new_tokens=40))
    assert isinstance(events[-1], EndEvent)
    streamed = events[-1].trace
    assert streamed.token_ids == trace.token_ids
    np.testing.assert_allclose(streamed.scores, trace.scores, atol=1e-6)
    tokens = [event.token for event in events if isinstance(event, TokenEvent)]
    spans = [event.span for event in events if isinstance(event, SpanEvent)]
    assert tuple(tokens) == streamed.tokens
    assert tuple(spans) == streamed.spans
    assert [s.text for s in spans] == [s.text for s in trace.spans]
    for live, offline in zip(spans, trace.spans, strict=True):
        assert [s.unit.id for s in live.supports] == [s.unit.id for s in offline.supports]


def test_a_span_is_streamed_before_the_response_ends(smollm2: Tracer) -> None:
    kinds = [type(event) for event in smollm2.stream(MESSAGES, max_new_tokens=40)]
    first_span = kinds.index(SpanEvent)
    assert TokenEvent in kinds[first_span + 1 :]


def test_leaving_a_stream_stops_the_model_and_restores_it(smollm2: Tracer) -> None:
    model = smollm2.adapter.model
    before = state(model)
    with smollm2.stream(MESSAGES, max_new_tokens=200) as stream:
        next(stream)
    assert_unchanged(model, before)
    assert list(stream) == []


def test_a_dropped_stream_stops_by_itself(smollm2: Tracer) -> None:
    stream = smollm2.stream(MESSAGES, max_new_tokens=200)
    next(stream)
    del stream
    gc.collect()
    deadline = time.monotonic() + 30
    while any(t.name == "omnitrace-stream" for t in threading.enumerate()):
        assert time.monotonic() < deadline, "the worker is still running"
        time.sleep(0.02)


def test_an_error_in_the_worker_is_raised_where_events_are_read(smollm2: Tracer) -> None:
    with pytest.raises(RuntimeError, match="user code"):
        list(smollm2.stream(MESSAGES, max_new_tokens=8, streamer=Failing()))


def test_a_stream_runs_in_the_callers_torch_modes(smollm2: Tracer) -> None:
    seen: list[tuple[bool, bool]] = []

    class Modes(BaseStreamer):
        def put(self, value: torch.Tensor) -> None:
            seen.append((torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()))

        def end(self) -> None:
            pass

    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        stream = smollm2.stream(MESSAGES, max_new_tokens=2, streamer=Modes())
    list(stream)
    assert seen[-1] == (True, True)


def test_two_traces_of_one_model_run_after_each_other(trace: Trace, smollm2: Tracer) -> None:
    results: list[Trace] = []

    def run() -> None:
        results.append(smollm2.trace(MESSAGES, max_new_tokens=12))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.token_ids for r in results] == [trace.token_ids[:12]] * 2


def test_reselecting_equals_selecting_live(smollm2: Tracer, trace: Trace, tmp_path: Path) -> None:
    config = SelectionConfig(gate=False, assign="token-max", p_min=0.02)
    other = smollm2.with_options(selection=config)
    live = other.trace(MESSAGES, max_new_tokens=40)
    saved = Trace.load(trace.save(tmp_path / "t.omnitrace"))
    assert saved.reselect(config).spans == live.spans
    assert saved.reselect(config).tokens == live.tokens
    assert saved.reselect(trace.config).spans == trace.spans


def test_explain_a_phrase(trace: Trace) -> None:
    span = trace.explain("324")
    assert span.text == "324"
    assert span.supports[0].unit.preview == "The tower is 324 metres tall."
    with pytest.raises(InputError, match="does not contain"):
        trace.explain("the moon")
    with pytest.raises(InputError, match="empty"):
        trace.explain(" ")
    with pytest.raises(InputError, match="no occurrence 7"):
        trace.explain("324", occurrence=7)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"num_beams": 2},
        {"do_sample": True, "num_return_sequences": 2},
        {"guidance_scale": 1.5},
        {"prompt_lookup_num_tokens": 3},
        {"past_key_values": object()},
        {"cache": object()},
    ],
    ids=lambda kwargs: next(iter(reversed(kwargs))),
)
def test_what_breaks_row_accounting_is_refused(smollm2: Tracer, kwargs: dict[str, Any]) -> None:
    with pytest.raises(NotSupportedError, match="not supported"):
        smollm2.trace(MESSAGES, max_new_tokens=4, **kwargs)


def test_assisted_decoding_is_refused(smollm2: Tracer) -> None:
    with pytest.raises(NotSupportedError, match="assisted"):
        smollm2.trace(MESSAGES, max_new_tokens=4, assistant_model=tiny("llama"))


def test_an_unknown_generation_argument_is_named(smollm2: Tracer) -> None:
    with pytest.raises(InputError, match="max_new_tokns"):
        smollm2.trace(MESSAGES, max_new_tokns=4)


def test_generation_settings_pass_through(smollm2: Tracer) -> None:
    short = smollm2.trace(
        MESSAGES,
        max_new_tokens=40,
        stop_strings=["metres", "meters"],
        tokenizer=smollm2.adapter.tokenizer,
    )
    assert len(short.token_ids) < 20
    static = smollm2.trace(MESSAGES, max_new_tokens=8, cache_implementation="static")
    plain = smollm2.trace(MESSAGES, max_new_tokens=8)
    assert static.token_ids == plain.token_ids
    np.testing.assert_allclose(static.scores, plain.scores, atol=1e-5)


def test_an_unknown_signal_names_near_matches(smollm2: Tracer) -> None:
    with pytest.raises(PluginError, match="did you mean 'attention-mean'"):
        Tracer(adapter=smollm2.adapter, signal="atention-mean")


def test_the_last_layers_signal_reads_one_layer(smollm2: Tracer, trace: Trace) -> None:
    last = Tracer(adapter=smollm2.adapter, signal="attention-last").trace(
        MESSAGES, max_new_tokens=4
    )
    assert last.provenance.signal["layers"] == [29]
    assert last.token_ids == trace.token_ids[:4]
    assert not np.allclose(last.scores[:, :10], trace.scores[:4, :10], atol=1e-3)


def test_a_retrieval_request_is_cited_by_document(smollm2: Tracer) -> None:
    content = [
        {"type": "text", "source_id": "eiffel.pdf", "text": "The tower is 324 metres tall."},
        {"type": "text", "source_id": "wiki", "text": "Paris has many cafés. They are old."},
        {"type": "text", "text": "How tall is the tower?"},
    ]
    trace = smollm2.trace([{"role": "user", "content": content}], max_new_tokens=16)
    assert [unit.id for unit in trace.units] == ["eiffel.pdf", "wiki#1", "wiki#2"]
    assert trace.spans[0].supports[0].unit.source_id == "eiffel.pdf"


def test_earlier_turns_can_be_sources(smollm2: Tracer) -> None:
    messages = [
        {"role": "system", "content": "You are short."},
        {"role": "user", "content": "The key is under the mat."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": [{"type": "text", "text": "Where is the key?"}]},
    ]
    tracer = Tracer(adapter=smollm2.adapter, sources=SourceOptions(system=True, history=True))
    trace = tracer.trace(messages, max_new_tokens=4)
    previews = [unit.preview for unit in trace.units]
    assert previews == ["You are short.", "The key is under the mat.", "Noted."]


def test_a_prompt_longer_than_the_context_is_refused(smollm2: Tracer) -> None:
    with pytest.raises(InputError, match=r"the prompt has \d+ tokens"):
        smollm2.trace([{"role": "user", "content": "word " * 9000}], max_new_tokens=1)


def test_the_tracer_needs_one_model() -> None:
    with pytest.raises(InputError, match="no model"):
        Tracer()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.replay(MESSAGES, "No.", agaisnt="Yes."), "replay.. has no option 'agaisnt'"),
        (lambda t: t.with_options(blok=2), "Tracer has no option 'blok'.*did you mean 'block'"),
        (lambda t: Tracer(adapter=t.adapter, curation=None), "Tracer has no option 'curation'"),
        (lambda t: Tracer.from_pretrained("nowhere", sources_=1), "did you mean 'sources'"),
        (lambda t: t.trace(MESSAGES, max_tokens=3), "max_new_tokens"),
        (lambda t: t.stream(MESSAGES, provisonal=3), "provisonal"),
    ],
)
def test_an_option_that_there_is_not_is_refused(
    reference: Tracer, call: Callable[[Tracer], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        call(reference)


def test_other_options_of_the_same_model(reference: Tracer) -> None:
    other = reference.with_options(signal="mask-gradient", block=3)
    assert other.adapter is reference.adapter
    assert other.setup.layers is reference.setup.layers
    assert (other.setup.block, reference.setup.block) == (3, 16)
    assert not other.streams
    assert reference.streams
    assert other.with_options(signal="attention-mean").streams
    with pytest.raises(InputError, match="block is 0"):
        reference.with_options(block=0)


def test_words_are_weighed_in_the_language_of_the_new_sources(reference: Tracer) -> None:
    plain = reference.with_options(salience=None)
    german = plain.with_options(sources=SourceOptions(language="de"))
    assert german.setup.salience.name == "blank:de"
    assert german.with_options(block=2).setup.salience is german.setup.salience
