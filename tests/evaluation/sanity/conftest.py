"""The reference model on one request, replayed with two signals."""

from __future__ import annotations

import pytest

from omnitrace import Tracer
from omnitrace.evaluation.sanity import Case, case_of, tracers_of
from tests.helpers.known_evidence import ANSWER, MESSAGES, Blind


@pytest.fixture(scope="session")
def tracers(reference: Tracer) -> dict[str, Tracer]:
    return tracers_of(reference, ["attention-mean", Blind()])


@pytest.fixture(scope="session")
def case(tracers: dict[str, Tracer]) -> Case:
    return case_of(tracers, "weights", MESSAGES, ANSWER)
