"""A trace whose documents have names, titles and metadata, and one that was verified."""

from __future__ import annotations

import dataclasses
from typing import Final

from omnitrace.trace.trace import Trace
from omnitrace.types import Effect, SpanEffects
from tests.helpers.sample_traces import multimodal_trace

ADDRESS: Final = "https://example.org/pier"
#: By part: the log, the picture of the pier, and one document of a recording and a video.
LABELS: Final = (
    {"source_id": "log", "title": "Harbour log", "metadata": {"page": 3, "tags": ["ferry"]}},
    {"source_id": ADDRESS, "title": "The pier"},
    {"source_id": "trip"},
    {"source_id": "trip", "title": "The trip"},
)


def cited_trace() -> Trace:
    """The sample trace with labels: five spans, of which the last cites nothing."""
    trace = multimodal_trace()
    (message,) = trace.messages
    content = [part | label for part, label in zip(message["content"], (*LABELS, {}), strict=True)]
    units = tuple(
        dataclasses.replace(unit, source_id=LABELS[unit.locator.part]["source_id"])
        for unit in trace.units
    )
    labelled = dataclasses.replace(
        trace,
        messages=({**message, "content": content},),
        layout=dataclasses.replace(trace.layout, units=units),
    )
    return labelled.reselect(trace.config)


def verified_trace() -> Trace:
    """The same with effects: supported, no source, against the sources, supported, no source.

    The first span is a thought.
    """
    trace = cited_trace()
    first = trace.spans[0]
    thought = dataclasses.replace(first, section="thought")
    trace = dataclasses.replace(trace, spans=(thought, *trace.spans[1:]))
    return trace.with_effects(
        [
            SpanEffects({"text-2": Effect(3.0, 2.5, 3.5, "necessary")}, total=4.0),
            SpanEffects({"text-3": Effect(0.2)}, total=0.1),
            SpanEffects({"audio-2": Effect(-0.5)}, total=-2.0),
            SpanEffects(
                {
                    "video-3": Effect(1.5, 1.0, 2.0, "shared"),
                    "audio-5": Effect(2.5, kind="sufficient"),
                    "text-4": Effect(2.0, 1.5, 2.5, "necessary"),
                },
                total=6.0,
            ),
            SpanEffects({}, total=0.0),
        ]
    )
