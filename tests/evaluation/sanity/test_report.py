"""All checks at once, their document and their tables."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from omnitrace import InputError, PluginError, Tracer
from omnitrace.evaluation.sanity import (
    CHECKS,
    CONTROL,
    Case,
    SanityDocument,
    case_of,
    case_of_trace,
    check_all,
    tracers_of,
)
from omnitrace.evaluation.sanity.report import SanityOptions
from omnitrace.evaluation.sanity.tables import sections_of
from tests.helpers.known_evidence import ANSWER, MESSAGES, Blind


def test_a_document_is_valid_and_says_what_the_tables_say(
    tracers: dict[str, Tracer], case: Case
) -> None:
    found = check_all(tracers, [case], skipped={"other": "no media"}, options=SanityOptions(top=1))
    text = json.dumps(found.to_document(), allow_nan=False)
    read = SanityDocument.model_validate_json(text)
    assert (read.signals, read.examples) == (("attention-mean", "blind"), ("weights",))
    assert read.skipped == {"other": "no media"}
    assert read.randomisation is not None
    assert read.randomisation.passed["blind"] is False
    assert read.operators is not None
    assert {pair.group for pair in read.operators.pairs} == {"all", "text"}
    assert read.regeneration is not None
    assert read.regeneration.examples[0].name == "weights"
    with pytest.raises(ValidationError):
        SanityDocument.model_validate_json(text.replace('"version": 1', '"version": 2'))
    sections = list(sections_of(found))
    assert len(sections) == len(CHECKS)
    for _, rows, notes in sections:
        assert len({len(row) for row in rows}) == 1
        assert len(rows) > 1
        assert notes
    blind = next(row for row in sections[0][1] if row[0] == "blind")
    assert blind[2] == "1.00"
    assert blind[-1] == "no"
    # One modality: "all" would say the same again.
    assert {row[1] for row in sections[2][1][1:]} == {"text"}


def test_only_what_is_asked_for_runs(tracers: dict[str, Tracer], case: Case) -> None:
    told: list[str] = []
    found = check_all(
        tracers, [case], progress=told.append, options=SanityOptions(checks=["evidence"])
    )
    assert found.evidence is not None
    assert found.randomisation is found.operators is found.regeneration is None
    assert told == ["weights: shuffled evidence"]
    assert found.to_document()["randomisation"] is None
    with pytest.raises(PluginError, match=r"unknown check 'evidnce'.*did you mean 'evidence'"):
        check_all(tracers, [case], options=SanityOptions(checks=["evidnce"]))


def test_what_cannot_be_judged_is_refused(reference: Tracer, tracers: dict[str, Tracer]) -> None:
    one = [{"role": "user", "content": "The lamp weighs seven grams.", "source": True}]
    with pytest.raises(InputError, match="1 spans and the request 1 units"):
        case_of(tracers, "one", one, "The lamp weighs seven grams.")
    with pytest.raises(InputError, match="two signals are named 'blind'"):
        tracers_of(reference, [Blind(), Blind()])
    control = Blind()
    control.name = CONTROL
    with pytest.raises(InputError, match=f"two signals are named '{CONTROL}'"):
        tracers_of(reference, [control])
    with pytest.raises(InputError, match="no signal is named"):
        tracers_of(reference, [])


def test_a_trace_of_another_model_is_refused(tracers: dict[str, Tracer]) -> None:
    trace = tracers["blind"].replay(MESSAGES, ANSWER)
    assert case_of_trace(tracers, "own", trace).trace.token_ids == trace.token_ids
    with pytest.raises(InputError, match=r"becomes other tokens.*name its model, 'reference'"):
        case_of_trace(tracers, "redacted", _with_other_ids(trace))


def _with_other_ids(trace):  # type: ignore[no-untyped-def]
    import dataclasses

    return dataclasses.replace(trace, prompt_ids=tuple(-1 for _ in trace.prompt_ids))
