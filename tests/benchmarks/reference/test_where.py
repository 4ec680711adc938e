"""Where the strongest unit lies when it is not the evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.labels.matching import named_units, true_units
from reference.where import NO_EVIDENCE, OUTCOMES, UNSAID, outcome_of
from tests.helpers.reference_units import A2, UNITS, V1


def item(sources: Sequence[Any], chosen: Sequence[str], truth: Sequence[str] = ()) -> LabelledItem:
    return LabelledItem(
        example="one",
        span=0,
        word=None,
        category=None,
        modality="audio",
        sources=len(sources),
        length=3,
        truth=frozenset(truth) or true_units(sources, UNITS),
        shown=tuple(named_units(source, UNITS) for source in sources),
        unreachable=0,
        regions=(),
        seconds=(),
        units=UNITS,
        prediction=Prediction(np.zeros(len(UNITS)), frozenset(chosen)),
        top=chosen[0] if chosen else None,
    )


@pytest.mark.parametrize(
    ("sources", "chosen", "index"),
    [
        ([A2], ["a2", "v0"], 0),
        ([A2, V1], ["v1", "c00", "a2"], 0),
        ([A2, V1], ["v1"], 1),
        ([A2, V1], ["c00", "a2"], 1),
        ([A2], ["a1", "a2"], 2),  # the strongest one decides
        ([A2], ["a3"], 2),
        ([A2], ["a0"], 3),
        ([V1], ["v3"], 3),
        ([V1], ["s1"], 4),
        ([A2], ["s2"], 5),
        ([A2], ["t"], 6),
        ([A2], ["v2"], 6),
        ([A2, V1], ["v0"], 2),  # near to the second piece of evidence
        ([A2], [], 7),
    ],
)
def test_outcomes(sources: Sequence[Any], chosen: Sequence[str], index: int) -> None:
    assert outcome_of(item(sources, chosen), sources) == OUTCOMES[index]


def test_cells_touch_at_their_corners() -> None:
    assert outcome_of(item([A2], ["c00"], truth=["c11"]), [A2]) == OUTCOMES[2]
    assert outcome_of(item([A2], ["c00"], truth=["c02"]), [A2]) == OUTCOMES[3]


def test_outcomes_without_evidence_or_answer() -> None:
    assert outcome_of(item([], ["a0"]), []) == NO_EVIDENCE
    assert outcome_of(dataclasses.replace(item([A2], ["a2"]), prediction=None), [A2]) == UNSAID


# --- the table
