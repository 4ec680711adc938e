import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import _reference_truth as truth
import numpy as np
import pytest
import reference

from omnitrace import CurationConfig, Layout, SourceUnit, TimeRange
from omnitrace.reference.world import SecondsEvidence, Statement, held_out_seed, make_sample
from omnitrace.types import PositionKind

UNITS = tuple(
    SourceUnit(f"u{i}", "audio", TimeRange(0, 0, float(i), i + 1.0), (2 * i, 2 * i + 1))
    for i in range(4)
)
LAYOUT = Layout(
    np.full(8, PositionKind.SOURCE, dtype=np.uint8),
    np.repeat(np.arange(4, dtype=np.int32), 2),
    UNITS,
)


def statement(second: int, *, start: int = 0) -> Statement:
    text = "The sound is high."
    return Statement(
        question="What is the sound?",
        text=text,
        start=start,
        end=start + len(text),
        value="high",
        value_start=start + 13,
        value_end=start + 17,
        category="audio",
        evidence=(SecondsEvidence(0, 0, float(second), second + 1.0),),
    )


def trace(text: str, supports: Sequence[int], value_unit: int) -> Any:
    """Make what the benchmark reads of a trace, one token a character.

    The value's tokens attend to ``value_unit``, every other token to the next one.
    """
    scores = np.zeros((len(text), 8 + len(text)), dtype=np.float32)
    at = text.find("high")
    for t in range(len(text)):
        unit = value_unit if at <= t < at + 4 else (value_unit + 1) % 4
        scores[t, 2 * unit] = 0.5
    start = len(text) - len(text.lstrip())
    span = SimpleNamespace(
        index=0,
        text=text[start:],
        start=start,
        supports=[SimpleNamespace(unit=UNITS[i]) for i in supports],
    )
    return SimpleNamespace(
        spans=[span],
        units=UNITS,
        layout=LAYOUT,
        scores=scores,
        tokens=[SimpleNamespace(start=t, end=t + 1) for t in range(len(text))],
        config=CurationConfig(),
    )


def judged(text: str, supports: Sequence[int] = (), value_unit: int = 0, second: int = 2) -> Any:
    sample = SimpleNamespace(statements=[statement(second, start=7)])
    (found,) = truth.judge_sample(0, sample, trace(text, supports, value_unit))  # type: ignore[arg-type]
    return found


def test_true_units_are_those_that_name_the_evidence() -> None:
    assert truth.true_units(statement(2), UNITS) == {"u2"}
    far = dataclasses.replace(statement(2), evidence=(SecondsEvidence(0, 1, 2.0, 3.0),))
    assert truth.true_units(far, UNITS) == frozenset()


def test_every_statement_of_the_world_has_a_modality() -> None:
    for number in range(20):
        for found in make_sample(held_out_seed(number)).statements:
            assert found.category.startswith(truth.modality_of(found))


@pytest.mark.parametrize("text", ["The sound is high.", "  The sound is high."])
def test_top_one_reads_the_value_word_only(text: str) -> None:
    assert truth.top_unit(judged(text, value_unit=2)) == "u2"
    assert reference.top_one()(judged(text, value_unit=2)) == 1.0
    assert reference.top_one()(judged(text, value_unit=1)) == 0.0


def test_wrong_answers_have_no_span() -> None:
    found = judged("The sound is low.")
    assert found.span is None
    assert truth.top_unit(found) is None
    assert reference.supports_f1()(found) is None


def test_f1_of_sets() -> None:
    assert truth.f1(frozenset(), frozenset()) == 1.0
    assert truth.f1(frozenset("a"), frozenset()) == 0.0
    assert truth.f1(frozenset(), frozenset("a")) == 0.0
    assert truth.f1(frozenset("ab"), frozenset("bc")) == 0.5
    # Precision 1/3, recall 1.
    assert truth.f1(frozenset("abc"), frozenset("a")) == pytest.approx(0.5)


def test_f1_of_supports() -> None:
    assert reference.supports_f1()(judged("The sound is high.", supports=[2])) == 1.0
    both = judged("The sound is high.", supports=[2, 3])
    assert reference.supports_f1()(both) == pytest.approx(2 / 3)


def test_prior_picks_the_nearest_place_within_the_modality() -> None:
    text = SourceUnit("t", "text", TimeRange(0, 1, 0.0, 1.0), ())
    prior = truth.Prior({"audio": 0.7, "text": 0.0})
    assert prior.unit((text, *UNITS), "audio") == "u2"
    assert prior.unit((text, *UNITS), "text") == "t"
    assert prior.unit(UNITS, "video") is None


def test_random_unit_is_seeded_and_spreads() -> None:
    one = judged("The sound is high.")
    assert truth.random_unit(one) == truth.random_unit(one)
    drawn = {truth.random_unit(dataclasses.replace(one, sample=i)) for i in range(60)}
    assert drawn == {unit.id for unit in UNITS}


def test_estimates_group_by_sample_and_modality() -> None:
    statements = [
        judged("The sound is high.", value_unit=2),
        judged("The sound is high.", value_unit=1),
    ]
    found = reference.estimates(statements, reference.top_one(), seed=0)
    assert found["audio"].value == found["all"].value == 0.5
    assert found["audio"].low == found["audio"].high == 0.5  # one sample: nothing to resample
    assert found["image"].count == 0


def test_switches_are_legal_and_change_something() -> None:
    for change in reference.SWITCHES.values():
        assert dataclasses.replace(CurationConfig(), **change) != CurationConfig()


def test_defaults_depend_on_quick() -> None:
    assert reference.parse([]).samples == 200
    assert reference.parse(["--quick"]).samples == 20
    assert reference.parse(["--quick", "--samples", "5"]).samples == 5
