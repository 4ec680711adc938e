"""Responses of servers: every form of one gives the supports of the live trace."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, Thinking, Trace, Tracer
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from tests.engine.test_replay import assert_same
from tests.helpers.server_responses import chat, logprobs_of

NOTE = "The cup weighs five grams. The key weighs eight grams."
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": NOTE},
            {"type": "text", "text": "What does the key weigh?"},
        ],
    }
]


@pytest.fixture(scope="module")
def live(reference: Tracer) -> Trace:
    trace = reference.trace(MESSAGES)
    assert trace.spans[0].supports
    return trace


def forms(tokenizer: Any, trace: Trace) -> dict[str, Any]:
    """Return a response in every form, the most exact first, by where its ids come from."""
    ids = trace.token_ids
    exact = {"content": trace.text, "token_ids": ids, "logprobs": logprobs_of(tokenizer, ids[:1])}
    return {
        "given": chat(exact, prompt_token_ids=trace.prompt_ids),
        "logprobs": chat(
            {"content": trace.text, "logprobs": logprobs_of(tokenizer, ids, named=True)}
        ),
        "bytes": chat({"content": trace.text, "logprobs": logprobs_of(tokenizer, ids)}),
        "text": chat({"content": trace.text}),
    }


@pytest.mark.parametrize("form", ["given", "logprobs", "bytes", "text"])
def test_every_form_gives_the_live_trace(reference: Tracer, live: Trace, form: str) -> None:
    response = forms(reference.adapter.tokenizer, live)[form]
    for each in (response, json.loads(response.model_dump_json())):
        trace = reference.replay(MESSAGES, each)
        assert trace.provenance.generation["response_ids"] == form
        assert_same(trace, live)
        if form != "text":  # the end of the turn is a token, and no text
            assert trace.token_ids == live.token_ids


def test_arrays_and_tensors(reference: Tracer, live: Trace) -> None:
    for ids in (np.array(live.token_ids), torch.tensor([live.token_ids])):
        assert reference.replay(MESSAGES, ids).token_ids == live.token_ids


def test_the_scorer_takes_them_too(reference: Tracer, live: Trace) -> None:
    both = chat({"content": "The key weighs two grams."}, {"token_ids": live.token_ids})
    assert reference.scorer(MESSAGES, both, choice=1).response == live.token_ids
    contrast = reference.with_options(signal="grad-sam").replay(
        MESSAGES, both, choice=1, against=both
    )
    assert contrast.token_ids == live.token_ids
    assert contrast.provenance.generation["contrast"] is True


def test_the_prompt_of_the_server_must_be_ours(reference: Tracer, live: Trace) -> None:
    theirs = list(live.prompt_ids)
    (other,) = reference.adapter.tokenizer("stone", add_special_tokens=False)["input_ids"][-1:]
    at = len(theirs) // 2
    mine = reference.adapter.tokenizer.decode([theirs[at]])
    theirs[at] = other
    response = chat({"token_ids": live.token_ids}, prompt_token_ids=theirs)
    with pytest.raises(InputError, match="prompt_token_ids") as caught:
        reference.replay(MESSAGES, response)
    assert f"at index {at} the server has {other} " in str(caught.value)
    assert f"and here is {live.prompt_ids[at]} {mine!r}" in str(caught.value)
    shorter = chat({"token_ids": live.token_ids}, prompt_token_ids=live.prompt_ids[:-1])
    with pytest.raises(InputError, match=f"at index {len(theirs) - 1} .* has its end"):
        reference.replay(MESSAGES, shorter)


def test_a_server_may_name_a_medium_by_one_placeholder(reference: Tracer, tmp_path: Any) -> None:
    sample = make_sample(held_out_seed(3), order=("image",), questions=1)
    path = write_sample(sample, tmp_path)
    asked = {"messages": json.loads(path.read_text())["messages"], "media_root": tmp_path}
    first = reference.trace(**asked, max_new_tokens=3)
    media = reference.adapter.media_tokens
    short: list[int] = []
    for token in first.prompt_ids:
        if not (token in media and short and short[-1] == token):
            short.append(token)
    assert len(short) < len(first.prompt_ids)
    response = chat({"token_ids": first.token_ids}, prompt_token_ids=short)
    assert reference.replay(**asked, response=response).token_ids == first.token_ids


def test_ids_of_another_tokenizer_are_refused(reference: Tracer, live: Trace) -> None:
    response = chat({"content": "The lamp is red.", "token_ids": live.token_ids})
    with pytest.raises(InputError, match=r"ids of response\.choices\[0\] stand for .*The key"):
        reference.replay(MESSAGES, response)
    far = chat({"token_ids": [5, 10**8]})
    with pytest.raises(InputError, match=r"choices\[0\]\.token_ids\[1\] is 100000000"):
        reference.replay(MESSAGES, far)


def test_bytes_that_are_no_tokens_here_fall_back_to_the_text(
    reference: Tracer, live: Trace
) -> None:
    logprobs = logprobs_of(reference.adapter.tokenizer, live.token_ids)
    logprobs["content"][0] |= {"token": "Thé", "bytes": list("Thé".encode())}
    trace = reference.replay(MESSAGES, chat({"content": live.text, "logprobs": logprobs}))
    assert trace.provenance.generation["response_ids"] == "text"
    assert_same(trace, live)


def test_a_response_that_was_cut_off_is_not_finished(reference: Tracer, live: Trace) -> None:
    cut = chat({"token_ids": live.token_ids[:3], "finish_reason": "length"})
    assert not reference.replay(MESSAGES, cut).provenance.finished
    assert reference.replay(MESSAGES, list(live.token_ids)).provenance.finished


def test_calls_of_tools_need_their_tokens(reference: Tracer, live: Trace) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with pytest.raises(InputError, match=r"calls tools.*return_token_ids"):
        reference.replay(MESSAGES, chat({"tool_calls": [call]}))
    exact = chat({"tool_calls": [call], "token_ids": live.token_ids})
    assert_same(reference.replay(MESSAGES, exact), live)


def test_a_response_without_a_text_is_refused(reference: Tracer) -> None:
    for choice in ({"content": None}, {"content": ""}, {"token_ids": []}):
        with pytest.raises(InputError, match=r"response\.choices\[0\]"):
            reference.replay(MESSAGES, chat(choice))


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tracer, list[Any], Trace]:
    tracer = Tracer.from_pretrained("reference-thinking", signal="attention-mean")
    text = "The stone costs seven coins. The rope costs four coins."
    content = [
        {"type": "text", "text": text},
        {
            "type": "text",
            "text": "What is the sum of what the rope costs and what the stone costs?",
        },
    ]
    messages = [{"role": "user", "content": content}]
    trace = tracer.trace(messages)
    assert {span.section for span in trace.spans} == {"thought", "answer"}
    return tracer, messages, trace


def test_thoughts_are_put_back(thinking: tuple[Tracer, list[Any], Trace]) -> None:
    tracer, messages, live = thinking
    thought, said = live.text.removeprefix("<think>").split("</think>")
    for name in ("reasoning", "reasoning_content"):
        trace = tracer.replay(messages, chat({"content": said, name: thought}))
        assert_same(trace, live)
        assert [span.section for span in trace.spans] == [span.section for span in live.spans]
    cut = chat({"content": None, "reasoning": thought[:30], "finish_reason": "length"})
    found = tracer.replay(messages, cut)
    assert {span.section for span in found.spans} == {"thought"}
    assert found.text == "<think>" + thought[:30]


def test_thoughts_without_markers_are_refused(thinking: tuple[Tracer, list[Any], Trace]) -> None:
    tracer, messages, _ = thinking
    with pytest.raises(InputError, match=r"choices\[0\] has thoughts.*no markers"):
        tracer.with_options(thinking=None).replay(
            messages, chat({"content": "Ten.", "reasoning": "Five."})
        )


def test_trimmed_thoughts_stand_as_the_template_writes_them(
    thinking: tuple[Tracer, list[Any], Trace],
) -> None:
    tracer, messages, _ = thinking
    response = chat({"content": "Ten.", "reasoning": "Five and five."})
    trace = tracer.replay(messages, response)
    assert trace.text == "<think>\nFive and five.\n</think>\n\nTen."  # its template shows none
    opened = tracer.with_options(thinking=Thinking(opened=True)).replay(messages, response)
    assert opened.text == "Five and five.\n</think>\n\nTen."
    processor = tracer.adapter.processor
    own = processor.chat_template
    processor.chat_template = (
        "{%- for m in messages -%}{{ m.role }}:{% if m.reasoning_content %}"
        "<think>{{ m.reasoning_content }} ||</think>~{% endif %}{{ m.content }};{%- endfor -%}"
    )
    try:
        assert tracer.replay(messages, response).text == "<think>Five and five. ||</think>~Ten."
    finally:
        processor.chat_template = own
