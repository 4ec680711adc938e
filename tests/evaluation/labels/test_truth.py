"""A label as a report shows it."""

from __future__ import annotations

import json

from omnitrace.evaluation.labels.schema import Label
from omnitrace.evaluation.labels.truth import truths_of
from omnitrace.report.truth import SpanTruth
from tests.helpers.sample_traces import text_trace


def test_what_a_label_says_of_the_spans() -> None:
    trace = text_trace(["One fact. Two facts."], "Which?", "One. Two. Three. Four.")
    sources = [
        [{"type": "text", "message": 0, "part": 0, "quote": "One fact."}],
        [
            {"type": "text", "message": 0, "part": 0, "start": start, "end": start + 5}
            for start in (0, 10)
        ],
        [],
    ]
    spans = [
        {"start": span.start, "end": span.end, "text": span.text, "sources": named}
        for span, named in zip(trace.spans, sources, strict=False)
    ]
    document = {"version": 1, "id": "a", "response": trace.text, "spans": spans}
    one, two = frozenset({"text-1"}), frozenset({"text-2"})
    assert truths_of(Label.model_validate_json(json.dumps(document)), trace) == [
        *(SpanTruth((one,)), SpanTruth((one, two)), SpanTruth(()), None)
    ]
