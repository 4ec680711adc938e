"""What is known to be true of a span, so that a report can show it beside what a trace found.

A report knows no label format: :func:`omnitrace.evaluation.labels.truth.truths_of` makes these
values from a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from omnitrace.types import Span

__all__ = ["SpanTruth", "TruthResult", "support_is_right", "truth_result", "truth_view"]

# What came of a span beside its truth: all of its evidence is named and nothing else; some of it,
# or all of it and more; or none of it.
TruthResult: TypeAlias = Literal["right", "partly", "wrong"]


@dataclass(frozen=True, slots=True)
class SpanTruth:
    """The evidence of a span, as a person or a generator labelled it.

    Attributes
    ----------
    evidence:
        For each piece of evidence the ids of the units that show it; empty where there is none, so
        that a span rightly has no support.
    said:
        Whether what the span says is true; None where that is not known.
    note:
        A sentence for the reader, such as the statement that was expected.
    """

    evidence: tuple[frozenset[str], ...]
    said: bool | None = None
    note: str = ""


def support_is_right(truth: SpanTruth, unit: str) -> bool:
    """Say whether the unit with this id shows any of the evidence."""
    return any(unit in shown for shown in truth.evidence)


def truth_result(truth: SpanTruth, span: Span) -> TruthResult:
    """Compare the supports of a span with its evidence."""
    named = {support.unit.id for support in span.supports}
    found = [bool(named & shown) for shown in truth.evidence]
    spurious = [unit for unit in named if not support_is_right(truth, unit)]
    if all(found) and not spurious:
        return "right"
    return "partly" if any(found) else "wrong"


def truth_view(truth: SpanTruth, span: Span, index: dict[str, int]) -> dict[str, Any]:
    """Describe the truth of a span for the viewer.

    Parameters
    ----------
    truth, span:
        What belongs together.
    index:
        Unit ids and the units' indices in the trace.
    """
    named = {support.unit.id for support in span.supports}
    return {
        "result": truth_result(truth, span),
        "said": truth.said,
        "note": truth.note,
        "expected": len(truth.evidence),
        # One place for each piece of evidence that no support shows: the units that would.
        "missed": [_indices(shown, index) for shown in truth.evidence if not named & shown],
    }


def _indices(units: Sequence[str] | frozenset[str], index: dict[str, int]) -> list[int]:
    return sorted(index[unit] for unit in units if unit in index)
