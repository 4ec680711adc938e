"""The benchmark of verification: its options, and that it measures what it says."""

from __future__ import annotations

import pytest

import verify
from common.report import BenchmarkError
from omnitrace import Tracer
from tests.helpers.many_requests import REQUESTS
from tests.helpers.text_adapters import text_adapter


def test_defaults_depend_on_quick() -> None:
    full, quick = verify.parse([]), verify.parse(["--quick"])
    assert (full.prompt_tokens, full.new_tokens) == (800, 128)
    assert quick.rounds < full.rounds
    assert verify.parse(["--quick", "--rounds", "5"]).rounds == 5


@pytest.mark.parametrize("first", [True, False])
def test_both_ways_write_the_same(first: bool) -> None:
    tracer = Tracer(adapter=text_adapter(), signal="value-attention")
    spent, passes = verify.one_round(tracer, REQUESTS[0], 4, first)
    assert sorted(spent) == ["verified", "written"]
    assert spent["written"].cpu > 0
    assert passes > 0


def test_what_is_not_verified_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = Tracer(adapter=text_adapter(), signal="value-attention")
    monkeypatch.setattr("omnitrace.engine.run.verified", lambda setup, session, trace, **_: trace)
    with pytest.raises(BenchmarkError, match="not verified"):
        verify.one_round(tracer, REQUESTS[0], 4, False)
