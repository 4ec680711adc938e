"""The total effect: what the model writes without a unit, beside what teacher forcing says."""

from __future__ import annotations

import numpy as np
import pytest

from omnitrace import InputError, NotSupportedError, Tracer
from omnitrace.ablation import leave_one_out
from omnitrace.ablation.input_operators import AT_THE_INPUT
from omnitrace.evaluation.sanity import Case, Regeneration, case_of, regeneration
from tests.helpers.known_evidence import MESSAGES, TRUE_UNITS


@pytest.fixture(scope="module")
def found(reference: Tracer, case: Case) -> Regeneration:
    return regeneration(reference, [case])


def test_the_teacher_forced_part_is_what_effects_measures(
    reference: Tracer, case: Case, found: Regeneration
) -> None:
    (one,) = found.examples
    units = len(case.trace.units)
    assert one.units == tuple(range(units))
    measured = reference.effects(
        case.trace,
        leave_one_out(units),
        operator=AT_THE_INPUT,
        messages=case.messages,
    )
    np.testing.assert_allclose(one.drops, measured.drops, atol=1e-4)
    assert np.abs(one.drops).max() > 1.0


def test_without_its_fact_a_statement_is_another_one(case: Case, found: Regeneration) -> None:
    assert found.unablated.value == 0.0
    (one,) = found.examples
    for span, unit in enumerate(TRUE_UNITS):
        assert one.changed[unit, span] == 1.0
        assert 0 < one.edited[unit, span] <= 1
    assert set(np.unique(one.changed)) <= {0.0, 1.0}
    assert found.changed.value == pytest.approx(one.changed.mean())
    assert found.drop_if_changed.value > 1 > found.drop_if_same.value
    assert found.with_changed.value > 0.5
    tops = case.scores["attention-mean"].argmax(axis=1)
    expected = np.mean([one.changed[unit, span] for span, unit in enumerate(tops)])
    assert found.named["attention-mean"].value == pytest.approx(expected)


def test_what_the_model_does_not_write_is_left_out_and_counted(
    reference: Tracer, tracers: dict[str, Tracer]
) -> None:
    claimed = case_of(tracers, "wrong", MESSAGES, "The lamp weighs nine grams.")
    found = regeneration(reference, [claimed], top=1, others=0)
    assert found.unablated.value == 1.0
    assert np.isnan(found.changed.value)
    assert found.with_changed.undefined == 1
    (one,) = found.examples
    assert np.isnan(one.changed).all()
    tops = {int(each.argmax()) for each in claimed.scores.values()}
    assert tops <= set(one.units)
    assert len(one.units) <= len(tops) + 1
    assert len(one.drops) == len(one.units) == len(one.edited)


def test_an_operator_inside_the_decoder_cannot_be_written_anew_with(
    reference: Tracer, case: Case
) -> None:
    with pytest.raises(NotSupportedError, match=r"weights: 'attention' acts on what the decoder"):
        regeneration(reference, [case], operators={"text": "attention"}, top=1, others=0)
    with pytest.raises(InputError, match="the top 0 units"):
        regeneration(reference, [case], top=0)
