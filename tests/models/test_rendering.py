"""A conversation reaches the chat template whole, or is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from omnitrace.errors import InputError, NotSupportedError
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.tracer import Tracer
from tests.helpers.text_adapters import text_adapter

PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CALLING = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments.cup }}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}the end\n{% endif %}{% endif %}"
)
ASK = {"role": "user", "content": "What is the cup?"}
CALL = {"type": "function", "function": {"name": "weighs", "arguments": {"cup": "nine"}}}
CALLED = [
    ASK,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "The cup weighs nine grams."},
]
TOOL = {"type": "function", "function": {"name": "weighs", "parameters": {}}}


def tracer(template: str | None) -> Tracer:
    adapter = text_adapter(CausalLMAdapter)
    adapter.processor.chat_template = template
    return Tracer(adapter=adapter, signal="attention-mean")


def prompt(of: Tracer, messages: Any, **options: Any) -> str:
    trace = of.trace(messages, max_new_tokens=2, **options)
    text: str = of.adapter.tokenizer.decode(trace.prompt_ids)
    return text


def test_calls_without_content_reach_the_template():
    calling = tracer(CALLING)
    found = prompt(calling, CALLED)
    assert found == calling.adapter.tokenizer.decode(
        calling.adapter.tokenizer.apply_chat_template(
            CALLED, add_generation_prompt=True, return_dict=True
        )["input_ids"]
    )
    assert "nine" in found.split("<|im_end|>")[1]


def test_tools_and_arguments_reach_the_template_and_are_kept():
    calling = tracer(CALLING)
    plain = prompt(calling, [ASK])
    assert prompt(calling, [ASK], chat_template_kwargs={"enable_thinking": False}) != plain
    asked = [{**ASK, "source": True}]
    trace = calling.trace(asked, max_new_tokens=2, tools=[TOOL])
    assert calling.adapter.tokenizer.decode(trace.prompt_ids) != plain
    replayed = calling.replay(asked, trace.token_ids, tools=[TOOL])
    assert replayed.prompt_ids == trace.prompt_ids
    marked = calling.scorer_of(trace, messages=asked)  # the trace knows its tools
    assert [unit.id for unit in marked.source_units] == [unit.id for unit in trace.units]


def test_what_the_template_leaves_out_is_refused():
    plain = tracer(PLAIN)
    with pytest.raises(InputError, match="leaves out 'tool_calls'"):
        plain.trace([ASK, {**CALLED[1], "content": ""}, CALLED[2]])
    with pytest.raises(InputError, match="leaves out 'tools'"):
        plain.trace([ASK], tools=[TOOL])
    with pytest.raises(InputError, match=r"no argument 'enable_thinkin'.*'enable_thinking'"):
        tracer(CALLING).trace([ASK], chat_template_kwargs={"enable_thinkin": False})
    with pytest.raises(InputError, match="no chat template, which 'tools' needs"):
        tracer(None).trace([ASK], tools=[TOOL])
    with pytest.raises(InputError, match="has 'tokenize'"):
        plain.trace([ASK], chat_template_kwargs={"tokenize": True})


def test_the_beginning_of_a_response_is_continued():
    begun = [{**ASK, "source": True}, {"role": "assistant", "content": "The cup"}]
    found = tracer(PLAIN).trace(begun, max_new_tokens=2)
    text = tracer(PLAIN).adapter.tokenizer.decode(found.prompt_ids)
    assert text.split("<|im_start|>")[-1].split() == ["assistant", "The", "cup"]
    assert {unit.locator.message for unit in found.units} == {0}


def test_a_tokenizer_that_ends_its_texts_does_not_end_the_prompt():
    adapter = text_adapter(CausalLMAdapter)
    adapter.processor = copy.deepcopy(adapter.processor)
    adapter.processor.chat_template = None
    end = adapter.processor.eos_token
    assert isinstance(adapter.processor, PreTrainedTokenizerFast)
    adapter.processor.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, adapter.processor.eos_token_id)]
    )
    assert adapter.processor("The cup")["input_ids"][-1] == adapter.processor.eos_token_id
    trace = Tracer(adapter=adapter, signal="attention-mean").trace([ASK], max_new_tokens=2)
    assert trace.prompt_ids[-1] != adapter.processor.eos_token_id


def test_token_healing_is_refused():
    with pytest.raises(NotSupportedError, match="token healing, which changes the prompt"):
        tracer(PLAIN).trace([ASK], token_healing=True)


def test_half_a_surrogate_pair_is_refused_in_a_response():
    with pytest.raises(InputError, match="response holds half of a surrogate pair"):
        tracer(PLAIN).replay([ASK], "bad \ud83d half")
