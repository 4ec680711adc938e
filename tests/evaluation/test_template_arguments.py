"""Whoever prepares a request of a file or trace gives the chat template what ``trace`` gave it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnitrace import Tracer
from omnitrace.errors import InputError
from omnitrace.estimator.collect import Collector
from omnitrace.evaluation.calibration.run import calibrate_verdicts
from omnitrace.evaluation.example_set import Examples
from omnitrace.evaluation.head_choice import HeadOptions, select_heads
from omnitrace.evaluation.labels.io import LabelScan
from omnitrace.evaluation.model_access import replayed, respond
from omnitrace.evaluation.reattribute import Reattribution
from omnitrace.evaluation.sanity import case_of_trace, tracers_of
from omnitrace.evaluation.sanity.run import _answered
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.sources.messages import Conversation
from omnitrace.sources.request_files import RequestEntry
from tests.helpers.estimator_training import SMALL
from tests.helpers.text_adapters import text_adapter

TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if enable_thinking is false %}the end\n{% endif %}"
)
TOOL = {"type": "function", "function": {"name": "weighs", "parameters": {}}}
GIVEN = {"tools": [TOOL], "chat_template_kwargs": {"enable_thinking": False}}
RENDERED = {"tools": [TOOL], "enable_thinking": False}


class Noting(CausalLMAdapter):
    """Notes what the template of every conversation is given."""

    given: list[dict[str, Any]]

    def encode(self, conversation: Conversation, options: Any) -> Any:
        self.given.append(dict(conversation.template))
        return super().encode(conversation, options)


@pytest.fixture
def tracer() -> Tracer:
    adapter = text_adapter(Noting)
    adapter.given = []  # type: ignore[attr-defined]
    adapter.processor.chat_template = TEMPLATE
    return Tracer(adapter=adapter, signal="attention-mean")


def entry() -> RequestEntry:
    texts = [
        "The cup costs nine coins. The door is red today.",
        "The lamp costs two coins. The chair is very old.",
        "What does the cup cost?",
    ]
    messages = [{"role": "user", "content": [{"type": "text", "text": each} for each in texts]}]
    response = "The cup costs nine coins."
    raw = {"response": response}
    return RequestEntry("one", messages, Path(), raw=raw, response=response, template=GIVEN)


def examples() -> Examples:
    return Examples(requests=[entry()])


DOORS: dict[str, Callable[[Tracer], Any]] = {
    "estimator": lambda tracer: Collector(tracer, SMALL).example(entry()),
    "respond": lambda tracer: respond(tracer, entry().messages, template=GIVEN, max_new_tokens=2),
    "sanity": lambda tracer: _answered(entry(), tracers_of(tracer, ["attention-mean"]), 2),
    "heads": lambda tracer: select_heads(examples(), tracer, options=HeadOptions(count=1)),
    "calibration": lambda tracer: calibrate_verdicts(examples(), tracer.with_options(verify=True)),
    "scorer": lambda tracer: tracer.scorer(entry().messages, "The cup", **GIVEN),
    "read": lambda tracer: tracer.trace(tracer.read(entry().messages, **GIVEN), max_new_tokens=2),
}


LITTLE = ("heads", "calibration")


@pytest.mark.parametrize("door", DOORS)
def test_a_request_of_a_file(tracer: Tracer, door: str) -> None:
    # Of one request too little is learnt; but it has been read, and responses to it measured.
    little = contextlib.suppress(InputError) if door in LITTLE else contextlib.nullcontext()
    with little:
        DOORS[door](tracer)
    given = tracer.adapter.given  # type: ignore[attr-defined]
    assert len(given) > (door in LITTLE), "beside the reading, one response at least"
    assert all(each == RENDERED for each in given)


def test_a_request_of_a_trace(tracer: Tracer) -> None:
    trace = tracer.trace(entry().messages, max_new_tokens=3, min_new_tokens=3, **GIVEN)
    assert trace.provenance.template == GIVEN
    assert replayed(tracer, trace).prompt_ids == trace.prompt_ids
    case = case_of_trace(tracers_of(tracer, ["attention-mean"]), "one", trace)
    assert case.template == GIVEN
    assert all(each == RENDERED for each in tracer.adapter.given)  # type: ignore[attr-defined]


def test_a_labelled_response_is_attributed_again_as_it_was_asked(tracer: Tracer) -> None:
    reattribution = Reattribution(Examples(requests=[entry()]), LabelScan("none", (), ()))
    reattribution._responses = {entry().id: "The cup costs nine coins."}
    found = reattribution._replayed(tracer, entry().id, entry(), lambda masks: None)
    assert found is not None
    assert found[1].provenance.generation["template"] == RENDERED
