"""A replayed response is attributed as it was when the model wrote it; two are contrasted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, NotSupportedError, Trace, Tracer, builtin
from omnitrace.plugins.registry import build_registry
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.types import Modality
from tests.helpers.attention_gradients import whole
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.reference_categories import ONE_SOURCE
from tests.signals.captum.names import CAPTUM_SIGNALS

GRADIENTS = ("grad-sam", "grad-sam-last")
SIGNALS = ("attention-mean", "attention-last", "value-attention", *GRADIENTS)
NOTE = "The tower is 324 metres tall. Gustave Eiffel built it in 1889."
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": NOTE},
            {"type": "text", "text": "How tall is the tower?"},
        ],
    }
]


@pytest.fixture(scope="module")
def request_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a request with text, an image, sound and a video."""
    order: tuple[Modality, ...] = ("text", "image", "audio", "video")
    seed = held_out_seed(2435)  # a short video
    sample = make_sample(seed, questions=2, order=order, categories=ONE_SOURCE, long=False)
    return write_sample(sample, tmp_path_factory.mktemp("sample"))


def omni(path: Path) -> dict[str, Any]:
    return {"messages": json.loads(path.read_text())["messages"], "media_root": path.parent}


def supports(trace: Trace) -> list[tuple[str, list[str]]]:
    return [(span.text, [s.unit.id for s in span.supports]) for span in trace.spans]


def assert_same(replayed: Trace, live: Trace) -> None:
    """Compare a replay with the live trace, whose last token may be an end that text leaves out."""
    count = len(replayed.token_ids)
    assert replayed.token_ids == live.token_ids[:count]
    assert replayed.text == live.text
    assert supports(replayed) == supports(live)
    width = replayed.scores.shape[1]
    ours, theirs = replayed.scores, live.scores[:count, :width]
    if live.provenance.signal["name"] in GRADIENTS:
        largest = np.abs(theirs).max(axis=1)
        assert (np.abs(ours - theirs).max(axis=1) <= 1e-4 * largest).all()
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for a, b in zip(replayed.spans, live.spans, strict=True):
        assert a.grounding == pytest.approx(b.grounding, abs=1e-4)
        for x, y in zip(a.supports, b.supports, strict=True):
            assert x.mass == pytest.approx(y.mass, rel=1e-3, abs=1e-5)


def test_every_built_in_signal_is_tried() -> None:
    # tests/estimator/test_live.py and tests/signals/ try the others.
    others = {"estimator", "mask-gradient", "verified", *CAPTUM_SIGNALS}
    assert {*SIGNALS, *others} == set(build_registry({"omnitrace": builtin}).signals)


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_live_omni_trace_is_replayed(reference: Tracer, request_path: Path, signal: str) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=signal)
    live = tracer.trace(**omni(request_path))
    assert {unit.modality for unit in live.units} == {"text", "image", "audio", "video"}
    assert len(live.spans) == 2
    by_ids = tracer.replay(**omni(request_path), response=live.token_ids)
    by_text = tracer.replay(**omni(request_path), response=live.text)
    assert by_ids.token_ids == live.token_ids
    for replayed in (by_ids, by_text):
        assert_same(replayed, live)
    assert by_ids.provenance.generation == {
        "replay": True,
        "contrast": False,
        "response_ids": "given",
    }


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_live_text_trace_is_replayed(smollm2: Tracer, signal: str) -> None:
    tracer = Tracer(adapter=smollm2.adapter, signal=signal)
    live = tracer.trace(MESSAGES, max_new_tokens=10)
    response = live.text if signal == "attention-mean" else live.token_ids
    assert_same(tracer.replay(MESSAGES, response=response), live)


@pytest.mark.parametrize("signal", ["attention-mean", "grad-sam"])
def test_the_model_is_left_as_it_was_found(
    reference: Tracer, request_path: Path, signal: str
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=signal)
    model = tracer.adapter.model
    before = state(model)
    model.train()
    try:
        tracer.replay(**omni(request_path), response="The cup")
        assert model.training
    finally:
        model.eval()
    assert_unchanged(model, before)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("signal", GRADIENTS)
def test_the_callers_torch_mode_does_not_matter(
    reference: Tracer, request_path: Path, signal: str, mode: Any
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=signal)
    expected = tracer.trace(**omni(request_path), max_new_tokens=6)
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        live = tracer.trace(**omni(request_path), max_new_tokens=6)
        replayed = tracer.replay(**omni(request_path), response=live.token_ids)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    np.testing.assert_array_equal(live.scores, expected.scores)
    assert_same(replayed, expected)


def test_sampled_ids_are_those_of_the_untraced_model(reference: Tracer, request_path: Path) -> None:
    settings = {"do_sample": True, "temperature": 2.0, "top_k": 0, "max_new_tokens": 20}
    rows = reference.trace(**omni(request_path), seed=5, **settings)
    tracer = Tracer(adapter=reference.adapter, signal="grad-sam")
    assert tracer.trace(**omni(request_path), seed=5, **settings).token_ids == rows.token_ids


def test_a_response_that_the_model_would_not_write(reference: Tracer, request_path: Path) -> None:
    for signal in ("attention-mean", "grad-sam"):
        tracer = Tracer(adapter=reference.adapter, signal=signal)
        trace = tracer.replay(**omni(request_path), response="The cup is red. The lamp is blue.")
        assert [span.text for span in trace.spans] == ["The cup is red.", "The lamp is blue."]
        assert trace.scores.shape[0] == len(trace.token_ids)


@pytest.mark.parametrize("response", ["", [], [-1], [10**9], [1.5]], ids=str)
@pytest.mark.parametrize("what", ["response", "against"])
def test_what_is_no_response_is_refused(reference: Tracer, what: str, response: Any) -> None:
    tracer = Tracer(adapter=reference.adapter, signal="grad-sam")
    given = {"response": "The cup."} | {what: response}
    with pytest.raises(InputError, match=rf"^{what}(\[0\])? is "):
        tracer.replay(MESSAGES, **given)


def test_a_response_that_holds_a_medium_is_refused(reference: Tracer) -> None:
    token = reference.adapter.tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    ids = [*reference.adapter.tokenizer("The cup.")["input_ids"], token]
    with pytest.raises(InputError, match=r"token 3 of the response is '<\|AUDIO\|>', which stands"):
        reference.replay(MESSAGES, ids)
    with pytest.raises(InputError, match=r"suppress_tokens=\["):
        reference.scorer(MESSAGES, ids)


def test_a_response_that_holds_a_medium_is_replayed_step_by_step(reference: Tracer) -> None:
    """As the model may have written it: token by token nothing asks for a medium."""
    token = reference.adapter.tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    first, *rest = reference.adapter.tokenizer("The cup.")["input_ids"]
    ids = [first, token, *rest]
    trace = Tracer(adapter=reference.adapter, signal="grad-sam").replay(MESSAGES, ids)
    assert list(trace.token_ids) == ids
    assert (trace.scores[:, : trace.layout.prompt_length].sum(axis=1) > 0).all()


@pytest.mark.parametrize("signal", ["attention-mean", "grad-sam"])
def test_a_response_that_is_too_long_is_refused(reference: Tracer, signal: str) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=signal)
    limit = tracer.adapter.max_context
    with pytest.raises(InputError, match=f"takes {limit}"):
        tracer.replay(MESSAGES, response=[5] * limit)


def test_a_contrast_explains_the_word_that_differs(smollm2: Tracer) -> None:
    """Its scores are Grad-SAM of the difference of two log-probabilities, by plain autograd."""
    tracer = Tracer(adapter=smollm2.adapter, signal="grad-sam")
    mine, other = "The tower is tall and old.", "The tower is short and old."
    tokenizer = tracer.adapter.tokenizer
    ids, others = (tokenizer(text)["input_ids"] for text in (mine, other))
    assert len(ids) == len(others)
    (place,) = (i for i, pair in enumerate(zip(ids, others, strict=True)) if pair[0] != pair[1])
    trace = tracer.replay(MESSAGES, mine, against=other)
    assert trace.text == mine
    assert trace.provenance.generation["contrast"] is True
    assert [bool(row.any()) for row in trace.scores] == [i == place for i in range(len(ids))]
    prompt = {"input_ids": torch.tensor([trace.prompt_ids])}
    layers = whole(tracer.adapter.model, prompt, ids, place, foil=others[place])
    expected = torch.stack([(row * by.clamp_min(0)).mean(0) for row, by in layers]).mean(0)
    found = trace.scores[place, : len(expected)]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4 * float(expected.max()))


def test_two_equal_responses_are_no_contrast(reference: Tracer) -> None:
    tracer = Tracer(adapter=reference.adapter, signal="grad-sam")
    with pytest.raises(InputError, match="no word of the response"):
        tracer.replay(MESSAGES, "The cup is red.", against="The cup is red.")


def test_attention_cannot_contrast(reference: Tracer) -> None:
    with pytest.raises(NotSupportedError, match="'attention-mean' cannot contrast"):
        reference.replay(MESSAGES, "The cup is red.", against="The cup is blue.")
