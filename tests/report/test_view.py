"""The data model of the viewer says what the trace says."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from omnitrace.report.truth import SpanTruth
from omnitrace.report.view import trace_view
from omnitrace.trace.trace import Trace
from omnitrace.types import Effect
from tests.helpers.sample_traces import LOG, multimodal_trace, text_trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return multimodal_trace()


@pytest.fixture(scope="module")
def view(trace: Trace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(trace_view(trace), allow_nan=False))
    return found


def test_spans_supports_and_numbers(view: dict[str, Any], trace: Trace) -> None:
    assert [span["text"] for span in view["spans"]] == [span.text for span in trace.spans]
    numbers: list[int] = []
    for shown, span in zip(view["spans"], trace.spans, strict=True):
        assert shown["grounding"] == round(span.grounding, 4)
        for support, found in zip(shown["supports"], span.supports, strict=True):
            unit = view["units"][support["unit"]]
            assert (unit["id"], support["share"]) == (found.unit.id, round(found.share, 4))
            assert support["right"] is None
            numbers.append(unit["number"])
    assert list(dict.fromkeys(numbers)) == list(range(1, 10))  # in the order of their first use
    cited = {support.unit.id for span in trace.spans for support in span.supports}
    assert {u["id"] for u in view["units"] if u["number"] is not None} == cited


def test_strength_and_verdict(view: dict[str, Any]) -> None:
    assert [span["strength"] for span in view["spans"]] == [
        *("weak", "strong", "strong", "weak", "no source found")
    ]
    assert view["spans"][-1]["why"] == "no source supports this"
    assert view["warnings"] == [{"level": "warning", "text": "1 of 5 statements has no source."}]
    assert (view["signal"], view["selection"]) == ("attention-mean", "by votes, not verified")


def test_texts_are_cut_at_their_units(view: dict[str, Any]) -> None:
    log = view["parts"][0]
    assert (log["name"], log["kind"], log["source"]) == ("log", "text", True)
    assert "".join(text for text, _ in log["pieces"]) == LOG
    quoted = {unit: text for text, units in log["pieces"] for unit in units}
    assert quoted == {i: view["units"][i]["quote"] for i in quoted}
    assert not view["parts"][-1]["source"]


def test_overlapping_units_are_all_named_in_their_pieces() -> None:
    trace = text_trace(["One fact. Two facts."], "Which?", "One.")
    first, second = trace.units
    wide = dataclasses.replace(first.locator, start=0, end=14)
    units = (dataclasses.replace(first, locator=wide), second)
    layout = dataclasses.replace(trace.layout, units=units)
    view = trace_view(dataclasses.replace(trace, layout=layout))
    assert view["parts"][0]["pieces"] == [
        ["One fact. ", [0]],
        ["Two ", [0, 1]],
        ["facts.", [1]],
    ]


def test_tokens_have_their_text_and_largest_units(view: dict[str, Any], trace: Trace) -> None:
    tokens = view["tokens"]
    assert "".join(tokens["text"]) == trace.text
    for top, token in zip(tokens["top"], trace.tokens, strict=True):
        assert len(top) == 10
        assert view["units"][top[0]]["id"] == token.unit
        assert top[1::2] == sorted(top[1::2], reverse=True)
    parts = ("grounding", "instruction", "template", "generated")
    for k in range(len(trace.tokens)):
        assert sum(tokens[name][k] for name in parts) == pytest.approx(1, abs=0.01)


def test_the_signal_of_a_span_is_that_of_its_tokens(view: dict[str, Any], trace: Trace) -> None:
    masses = trace.masses()
    for shown, span in zip(view["spans"], trace.spans, strict=True):
        rows = slice(span.token_start, span.token_end)
        mean = (masses.units[rows] / masses.total[rows, None]).mean(axis=0)
        first, share = shown["signal"][:2]
        assert (first, share) == (mean.argmax(), pytest.approx(mean.max(), rel=0.01))


def test_titles_and_metadata_come_through_untouched(trace: Trace) -> None:
    content = [dict(part) for part in trace.messages[0]["content"]]
    content[0] |= {"title": "Log", "metadata": {"page": 3}}
    changed = dataclasses.replace(trace, messages=({**trace.messages[0], "content": content},))
    part = trace_view(changed)["parts"][0]
    assert (part["title"], part["metadata"]) == ("Log", {"page": 3})


def test_a_trace_that_was_broken_off_says_so(trace: Trace) -> None:
    def infos(**changes: Any) -> list[str]:
        made = dataclasses.replace(trace.provenance, **changes)
        warnings = trace_view(dataclasses.replace(trace, provenance=made))["warnings"]
        return [each["text"] for each in warnings if each["level"] == "info"]

    assert infos() == []
    assert infos(finished=False) == [
        "Generation was broken off; this is what there was until then."
    ]
    limit = {"max_new_tokens": len(trace.tokens)}
    (text,) = infos(finished=False, generation=limit)
    assert text == f"The response stops at max_new_tokens, {len(trace.tokens)} tokens."


def test_layers_without_rows_are_named(trace: Trace) -> None:
    signal = {"name": "attention-mean", "parameters": {}, "layers": [3, 7]}
    made = dataclasses.replace(trace.provenance, signal=signal)
    warnings = trace_view(dataclasses.replace(trace, provenance=made))["warnings"]
    assert warnings[-1] == {
        "level": "info",
        "text": "Layers without attention rows: [0, 1, 2, 4, 5, 6].",
    }
    chosen = {**signal, "parameters": {"layers": [3, 7]}}
    made = dataclasses.replace(trace.provenance, signal=chosen)
    assert len(trace_view(dataclasses.replace(trace, provenance=made))["warnings"]) == 1


def test_thought_and_answer_stand_apart(trace: Trace) -> None:
    moved = [
        dataclasses.replace(
            span,
            start=span.start + 7,
            end=span.end + 7,
            section="thought" if span.index < 2 else "answer",
        )
        for span in trace.spans
    ]
    view = trace_view(dataclasses.replace(trace, text=f"<think>{trace.text}", spans=tuple(moved)))
    assert view["spans"][0]["before"] == "<think>"
    assert [span["section"] for span in view["spans"]] == [s.section for s in moved]


def test_effects_and_overlapping_spans(trace: Trace) -> None:
    first, second, *rest = trace.spans
    supports = tuple(dataclasses.replace(each, effect=1.25) for each in first.supports)
    effects = {supports[0].unit.id: Effect(1.25, 0.5, 2.0)}
    first = dataclasses.replace(first, supports=supports, effects=effects)
    over = dataclasses.replace(second, start=first.end - 6)
    view = trace_view(dataclasses.replace(trace, spans=(first, over, *rest)))
    said = "".join(span["before"] + span["text"] for span in view["spans"])
    assert said + view["rest"] == trace.text
    support = view["spans"][0]["supports"][0]
    assert (support["effect"], support["interval"], support["strength"]) == (
        1.25,
        (0.5, 2.0),
        "weak",
    )


def test_the_truth_of_spans(trace: Trace) -> None:
    named = [support.unit.id for support in trace.spans[0].supports]
    truths = [
        SpanTruth((frozenset(named[:2]), frozenset({"audio-1"})), said=False, note="No."),
        SpanTruth((frozenset({"text-3"}),)),
        SpanTruth(()),
        None,
        SpanTruth(()),
    ]
    spans = trace_view(trace, truths=truths)["spans"]
    audio = [unit.id for unit in trace.units].index("audio-1")
    assert spans[0]["truth"] == {
        "result": "partly",
        "said": False,
        "note": "No.",
        "expected": 2,
        "missed": [[audio]],
    }
    assert [s["right"] for s in spans[0]["supports"]] == [True, True, False]
    assert [s["truth"] and s["truth"]["result"] for s in spans] == [
        *("partly", "right", "wrong", None, "right")
    ]


def test_messages_with_plain_text_and_without_facts() -> None:
    trace = text_trace(["A fact."], "Which?", "A fact.")
    system = {"role": "system", "content": "Be brief."}
    view = trace_view(dataclasses.replace(trace, messages=(*trace.messages, system)))
    assert view["roles"] == ["user", "system"]
    assert view["parts"][-1]["pieces"] == [["Be brief.", []]]
    assert [part["name"] for part in view["parts"]] == ["text 1", "text 2", "text 3"]
    full = multimodal_trace()
    media = tuple(dataclasses.replace(m, duration=None, size=None, waveform=()) for m in full.media)
    view = trace_view(dataclasses.replace(full, media=media))
    assert (view["parts"][1]["width"], view["parts"][2]["duration"]) == (1200, 12.0)


def test_a_path_of_a_model_is_cut_to_its_name(trace: Trace) -> None:
    for model, shown in (
        ("/models/a/tiny.gguf", "tiny.gguf"),
        ("C:\\models\\tiny", "tiny"),
        ("org/model", "org/model"),
    ):
        made = dataclasses.replace(trace.provenance, model=model)
        assert trace_view(dataclasses.replace(trace, provenance=made))["model"] == shown
