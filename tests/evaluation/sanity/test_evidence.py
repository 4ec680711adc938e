"""Shuffled evidence, on scores whose worth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from omnitrace import InputError, Tracer
from omnitrace.ablation import leave_one_out
from omnitrace.evaluation.sanity import CONTROL, Case, shuffled_evidence


@pytest.fixture(scope="module")
def drops(reference: Tracer, case: Case) -> np.ndarray:
    """What each unit costs each span, ``[S, K]`` in nats."""
    masks = leave_one_out(len(case.trace.units))
    return reference.effects(case.trace, masks, messages=case.messages).drops.T


def test_the_true_effects_lose_what_they_know(
    reference: Tracer, case: Case, drops: np.ndarray
) -> None:
    planted = dataclasses.replace(case, scores={"truth": drops, "upside down": -drops})
    found = shuffled_evidence(reference, [planted], ks=(1,), shuffles=400)
    truth, wrong = found
    assert (truth.signal, truth.k, wrong.signal) == ("truth", 1, "upside down")
    assert truth.real.value == pytest.approx(drops.max(axis=1).mean(), abs=1e-3)
    assert wrong.real.value == pytest.approx(drops.min(axis=1).mean(), abs=1e-3)
    # Any unit is as likely as any other: the mean of all of them.
    spread = float(drops.std(axis=1).mean())
    for each in found:
        assert each.shuffled.value == pytest.approx(drops.mean(), abs=0.2 * spread)
        assert each.difference.value == pytest.approx(each.real.value - each.shuffled.value)
    assert truth.difference.value > 0 > wrong.difference.value


def test_every_signal_and_the_control_are_evaluated(reference: Tracer, case: Case) -> None:
    found = shuffled_evidence(reference, [case], ks=(1, 2), shuffles=2)
    assert [(each.signal, each.k) for each in found] == [
        (signal, k) for signal in ("attention-mean", "blind", CONTROL) for k in (1, 2)
    ]
    again = shuffled_evidence(reference, [case], ks=(1, 2), shuffles=2)
    assert [each.difference for each in found] == [each.difference for each in again]
    assert all(np.isfinite(each.real.value) for each in found)


def test_what_ranks_nothing_is_undefined_and_counted(reference: Tracer, case: Case) -> None:
    spans, units = case.scores[CONTROL].shape
    flat = dataclasses.replace(case, scores={"flat": np.ones((spans, units))})
    (none,) = shuffled_evidence(reference, [flat], ks=(1,), shuffles=1)
    assert np.isnan(none.real.value)
    assert none.difference.undefined == spans
    (every,) = shuffled_evidence(
        reference,
        [dataclasses.replace(case, scores={"c": case.scores["blind"]})],
        ks=(units,),
        shuffles=1,
    )
    assert every.difference.undefined == spans
    with pytest.raises(InputError, match="0 shuffles of 1 responses"):
        shuffled_evidence(reference, [case], shuffles=0)
