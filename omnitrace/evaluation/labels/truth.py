"""What a label says of the spans of a trace, as a report shows it."""

from __future__ import annotations

from omnitrace.evaluation.labels.matching import match_spans
from omnitrace.evaluation.labels.schema import Label
from omnitrace.evaluation.labels.visibility import shown_units
from omnitrace.report.truth import SpanTruth
from omnitrace.trace.trace import Trace

__all__ = ["truths_of"]


def truths_of(label: Label, trace: Trace) -> list[SpanTruth | None]:
    """Return for each span of a trace what the label says of it; None where it says nothing.

    A span that several labelled statements are of has the evidence of them all.

    Raises
    ------
    InputError
        If a quote of the label does not occur exactly once in its part.
    """
    places = {id(span): i for i, span in enumerate(trace.spans)}
    evidence: dict[int, list[frozenset[str]]] = {}
    for labelled, span in zip(label.spans, match_spans(label, trace), strict=True):
        if span is not None:
            evidence.setdefault(places[id(span)], []).extend(
                shown_units(source, trace.units, trace.messages) for source in labelled.sources
            )
    return [
        SpanTruth(tuple(evidence[i])) if i in evidence else None for i in range(len(trace.spans))
    ]
