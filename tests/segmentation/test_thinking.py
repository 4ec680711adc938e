"""Thoughts and answers: no span crosses a marker, and the cut into pushes never matters."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, LogitsProcessor

from omnitrace import InputError, SelectionConfig, SpanEvent, Thinking, Trace, Tracer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.segmentation.sentences import segment
from omnitrace.segmentation.thinking import SectionSegmenter
from omnitrace.types import Layout, PositionKind
from tests.helpers import smollm2
from tests.helpers.tiny_llama import tiny_llama_config

RESPONSE = (
    "<think>\nThe cup is red. The lamp is 3.5 kg, isn't it\n</think>\n\nThe cup is red. So it is."
)
THOUGHT = ["The cup is red.", "The lamp is 3.5 kg, isn't it"]
ANSWER = ["The cup is red.", "So it is."]
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The cup is red. The lamp weighs 3.5 kg."},
            {"type": "text", "text": "Is <think> the cup red?"},
        ],
    }
]
FRAGMENTS = [
    "<think>",
    "</think>",
    "<",
    "</",
    "</think",
    "think>",
    "It is. ",
    "So, no! ",
    "\n",
    "a",
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


def sections(text: str, **options: Any) -> list[tuple[str, str]]:
    segmenter = SectionSegmenter(Thinking(), **options)
    spans = segmenter.push(text) + segmenter.finish()
    return [(segmenter.section_at(start), text[start:end]) for start, end in spans]


@given(text=texts, opened=st.booleans(), data=st.data())
@settings(max_examples=300)
def test_any_cut_into_pushes_gives_the_same_spans_and_sections(
    text: str, opened: bool, data: st.DataObject
) -> None:
    whole = sections(text, opened=opened)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    for edges in (cuts, range(len(text) + 1)):
        segmenter = SectionSegmenter(Thinking(), opened=opened)
        found = []
        for start, end in zip([0, *edges], [*edges, len(text)], strict=True):
            new = segmenter.push(text[start:end])
            assert all(b <= segmenter.start <= end for _, b in new)
            # What is said of a span when it ends stands.
            found += [(segmenter.section_at(a), text[a:b]) for a, b in new]
        found += [(segmenter.section_at(a), text[a:b]) for a, b in segmenter.finish()]
        assert found == whole


@given(text=texts, opened=st.booleans())
@settings(max_examples=300)
def test_a_slow_reading_agrees(text: str, opened: bool) -> None:
    """Cut at the markers first, from left to right, and segment each piece by itself."""
    expected, section, rest = [], "thought" if opened else "answer", text
    while rest:
        places = [p for p in (rest.find("<think>"), rest.find("</think>")) if p >= 0]
        at = min(places, default=len(rest))
        expected += [(section, rest[:at][a:b]) for a, b in segment(rest[:at])]
        marker = next((m for m in ("<think>", "</think>") if rest.startswith(m, at)), "")
        section = {"<think>": "thought", "</think>": "answer", "": section}[marker]
        rest = rest[at + len(marker) :]
    assert sections(text, opened=opened) == expected
    assert not any(m in span for _, span in expected for m in ("<think>", "</think>"))


def told(section: str, spans: list[str]) -> list[tuple[str, str]]:
    return [(section, span) for span in spans]


def test_thought_and_answer() -> None:
    assert sections(RESPONSE) == told("thought", THOUGHT) + told("answer", ANSWER)


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("One. Two.</think>Three.", True, [("thought", 2), ("answer", 1)]),
        ("<think>One.</think>Two.", True, [("thought", 1), ("answer", 1)]),  # opened twice
        ("<think>One. Two", False, [("thought", 2)]),  # never closed
        ("One. Two", True, [("thought", 2)]),
        ("<think>\n\n</think>\n\nOne.", False, [("answer", 1)]),  # no thought
        ("Zero. <think>One.</think>Two.", False, [("answer", 1), ("thought", 1), ("answer", 1)]),
        ("One.</think>Two.", False, [("answer", 2)]),  # closed without having been opened
        ("a < b. </thin", False, [("answer", 1)]),
    ],
)
def test_odd_markers(text: str, opened: bool, expected: list[tuple[str, int]]) -> None:
    found: list[list[Any]] = []
    for section, _ in sections(text, opened=opened):
        if not found or found[-1][0] != section:
            found.append([section, 0])
        found[-1][1] += 1
    assert [tuple(each) for each in found] == expected


def test_a_marker_is_in_no_section() -> None:
    segmenter = SectionSegmenter(Thinking())
    for piece in ("<think>", "It is", " red.", " </thi", "nk>", " Red."):
        segmenter.push(piece)
    segmenter.finish()
    starts = [0, 7, 12, 17, 23, 26, 31]
    assert [segmenter.section_of(*each) for each in itertools.pairwise(starts)] == [
        *(None, "thought", "thought", None, None, "answer")
    ]


def test_other_markers_and_none() -> None:
    text = "◁think▷Hm.◁/think▷ Yes <think>"
    segmenter = SectionSegmenter(Thinking("◁think▷", "◁/think▷"))
    spans = segmenter.push(text) + segmenter.finish()
    assert [(segmenter.section_at(a), text[a:b]) for a, b in spans] == [
        ("thought", "Hm."),
        ("answer", "Yes <think>"),
    ]
    plain = SectionSegmenter(None, opened=True)
    spans = plain.push(RESPONSE) + plain.finish()
    assert spans == segment(RESPONSE)
    assert {plain.section_at(start) for start, _ in spans} == {"answer"}
    assert plain.record() == {}


@pytest.mark.parametrize("markers", [("", "x"), ("a", "a"), ("a", "ab"), (" ", "b"), (1, "b")])
def test_bad_markers(markers: Any) -> None:
    with pytest.raises(InputError, match="the markers of a thought are"):
        Thinking(*markers)
    with pytest.raises(InputError, match="opened is 'yes'"):
        Thinking(opened="yes")  # type: ignore[arg-type]


# --- with a tokenizer and a model -----------------------------------------------------------------


def make_adapter(special: bool = False, suffix: str = "") -> CausalLMAdapter:
    """A tiny random model that reads with SmolLM2's tokenizer, and a template with a suffix."""
    tokenizer = copy.deepcopy(smollm2.tokenizer())
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    tokenizer.chat_template += suffix
    config = tiny_llama_config(tokenizer)
    torch.manual_seed(0)
    return CausalLMAdapter(LlamaForCausalLM(config).eval(), tokenizer, source="tiny")


class Says(LogitsProcessor):  # type: ignore[misc]
    """Lets a model say these tokens and end."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.at = ids, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[self.at]] = 0.0
        self.at += 1
        return forced


def said(trace: Trace) -> list[tuple[str, str]]:
    return [(span.section, span.text) for span in trace.spans]


@pytest.mark.parametrize("special", [False, True], ids=["text", "special tokens"])
def test_trace_stream_and_replay_tell_the_same(special: bool) -> None:
    tracer = Tracer(adapter=make_adapter(special), verify=False)
    ids = tracer.adapter.tokenizer(RESPONSE, add_special_tokens=False)["input_ids"]
    options: dict[str, Any] = {"max_new_tokens": len(ids)}
    live = tracer.trace(MESSAGES, logits_processor=[Says(ids)], **options)
    assert said(live) == told("thought", THOUGHT) + told("answer", ANSWER)
    assert ("<think>" in live.text) is not special
    assert live.provenance.segmentation["thinking"] == {
        "opening": "<think>",
        "closing": "</think>",
        "opened": False,  # the user's <think> opens nothing
    }
    with tracer.stream(MESSAGES, logits_processor=[Says(ids)], **options) as events:
        *early, end = events
    streamed = [event.span for event in early if isinstance(event, SpanEvent)]
    assert tuple(streamed) == end.trace.spans  # type: ignore[union-attr]
    assert said(end.trace) == said(live)  # type: ignore[union-attr]
    replayed = tracer.replay(MESSAGES, RESPONSE)
    assert said(replayed) == said(live)
    for one, other in zip(live.spans, replayed.spans, strict=True):
        assert (one.start, one.end, one.token_start) == (other.start, other.end, other.token_start)
        assert one.grounding == pytest.approx(other.grounding, abs=1e-5)


def test_a_thought_that_the_template_opens() -> None:
    response = "The cup is red.</think>It is."
    opening = Tracer(adapter=make_adapter(suffix="<think>\n"))
    expected = [("thought", "The cup is red."), ("answer", "It is.")]
    trace = opening.replay(MESSAGES, response)
    assert said(trace) == expected
    assert trace.provenance.segmentation["thinking"]["opened"] is True
    # A template that has closed the thought again (Qwen3 without thinking), and the user's word.
    closing = Tracer(adapter=make_adapter(suffix="<think>\n\n</think>\n\n"))
    assert [section for section, _ in said(closing.replay(MESSAGES, response))] == ["answer"] * 2
    forced = Tracer(adapter=closing.adapter, thinking=Thinking(opened=True))
    assert said(forced.replay(MESSAGES, response)) == expected
    off = Tracer(adapter=opening.adapter, thinking=None)
    assert "thinking" not in off.replay(MESSAGES, response).provenance.segmentation


def test_only_the_template_behind_the_request_opens_a_thought() -> None:
    tokenizer = smollm2.tokenizer()
    ids = tokenizer("a<think>", add_special_tokens=False)["input_ids"]

    def opened(*kinds: PositionKind) -> bool:
        layout = Layout(np.array(kinds, np.uint8), np.full(len(kinds), -1, np.int32), ())
        return Thinking().begins_opened(tokenizer, ids[: len(kinds)], layout)

    template = [PositionKind.TEMPLATE] * (len(ids) - 1)
    assert opened(PositionKind.INSTRUCTION, *template)
    assert opened(PositionKind.TEMPLATE, *template)
    assert not opened(*template, PositionKind.INSTRUCTION)
    assert not opened()


def test_reselection_for_the_answer_only(tmp_path: Any) -> None:
    trace = Tracer(adapter=make_adapter()).replay(MESSAGES, RESPONSE)
    loaded = Trace.load(trace.save(tmp_path / "t.omnitrace"))
    assert said(loaded) == said(trace)
    assert [span.text for span in loaded.spans_of("thought")] == THOUGHT
    config = SelectionConfig(gate=False)
    answers = loaded.reselect(config, section="answer")
    assert answers.spans == loaded.reselect(config).spans_of("answer")
    assert [span.text for span in answers.spans] == ANSWER
    assert answers.text == trace.text
    with pytest.raises(InputError, match="no section 'answers'"):
        loaded.reselect(config, section="answers")  # type: ignore[arg-type]
    first, second = (loaded.explain("red", occurrence=i).section for i in (0, 1))
    assert (first, second) == ("thought", "answer")
