"""What an attribution says of each unit for each span, before anything is selected."""

from __future__ import annotations

import numpy as np

from omnitrace.trace.trace import Trace
from omnitrace.types import SourceUnit, Span

__all__ = ["scores_of_span", "span_scores"]


def span_scores(trace: Trace) -> np.ndarray:
    """Return float64 ``[S, K]``: the score of each of a trace's units for each of its spans."""
    masses = trace.masses().assigned_units
    rows = [
        scores_of_span(span, trace.units, masses[span.token_start : span.token_end].sum(axis=0))
        for span in trace.spans
    ]
    return np.stack(rows) if rows else np.zeros((0, len(trace.units)))


def scores_of_span(span: Span, units: tuple[SourceUnit, ...], mass: np.ndarray) -> np.ndarray:
    """Return float64 ``[K]``: a span signal's effects, else the mass that the tokens give.

    Parameters
    ----------
    span, units:
        A span of the response, and the units of the request.
    mass:
        ``[K]``: ``Masses.assigned_units``, summed over the span's tokens.
    """
    if span.effects is None:
        return mass
    values = {name: effect.value for name, effect in span.effects.items()}
    return np.array([values.get(unit.id, 0.0) for unit in units])
