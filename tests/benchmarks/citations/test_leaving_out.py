"""Leave-one-out of whole documents: which are named, from drops and from a tiny random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citations.cases import cases
from citations.leaving_out import LeaveOneOutNamer, chosen_documents
from common.cache import Kept
from common.examples import Subject
from omnitrace import SelectionConfig, SourceUnit, TextRange, Tracer
from omnitrace.ablation import measure

UNITS = [SourceUnit(f"t{part}", "text", TextRange(0, part, 0, 4), (part,)) for part in (0, 1, 3)]


def chosen(*drops: float) -> tuple[int, ...]:
    return chosen_documents(drops, UNITS, SelectionConfig(verdict_min=1.0))


def test_the_document_of_the_largest_drop_is_named_first() -> None:
    assert chosen(0.5, 3.0, 0.25) == (1,)
    assert chosen(2.0, 0.1, 2.5) == (3, 0)
    assert chosen(-4.0, 0.2, 1.0) == (3,)


def test_none_is_named_where_the_largest_drop_is_small() -> None:
    assert chosen(0.99, 0.5, 0.9) == ()
    assert chosen(-3.0, -1.0, 0.0) == ()


@pytest.fixture(name="subject")
def subject_fixture(small_adapter: Any, tmp_path: Path) -> Subject:
    tracer = Tracer(
        adapter=small_adapter, verify=False, selection=SelectionConfig(verdict_min=1e-6)
    )
    return Subject(tracer, Kept(tmp_path), 8)


def test_hiding_a_document_hides_all_of_its_sentences(subject: Subject) -> None:
    case = next(
        each for each in cases("dev") if len(each.documents) == 3 and len(each.statements) == 2
    )
    namer = LeaveOneOutNamer()
    namer.prepare(subject)
    found = namer.name_documents(subject, case)
    assert found == namer.name_documents(subject, case)  # kept
    assert found.passes < 2 + 3 + 0.1  # two make the scorer, one a document at most

    trace = subject.tracer.replay(case.messages, case.response)
    scorer = subject.tracer.scorer(case.messages, list(trace.token_ids))
    parts = np.array([unit.locator.part for unit in scorer.source_units])
    masks = np.stack([parts != document for document in range(3)])
    assert (~masks).sum() == len(parts)
    drops = measure(scorer, trace.spans, masks).drops.T
    for named, each in zip(found.documents, drops, strict=True):
        assert named[:1] == ((int(each.argmax()),) if each.max() > 1e-6 else ())
