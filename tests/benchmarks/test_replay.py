"""The benchmark of replay: its options, and that it compares what it says."""

from __future__ import annotations

import numpy as np
import pytest

import replay
from common.report import BenchmarkError
from omnitrace import Tracer
from tests.helpers.many_requests import REQUESTS
from tests.helpers.text_adapters import text_adapter


def test_defaults_depend_on_quick() -> None:
    full, quick = replay.parse([]), replay.parse(["--quick"])
    assert (full.prompt_tokens, full.new_tokens) == (836, 128)
    assert quick.rounds < full.rounds
    assert replay.parse(["--quick", "--rounds", "5"]).rounds == 5


def test_both_ways_are_compared() -> None:
    tracer = Tracer(adapter=text_adapter(), signal="value-attention")
    written = tracer.trace(REQUESTS[0], max_new_tokens=4, min_new_tokens=4)
    spent, difference = replay.one_round(tracer, REQUESTS[0], 4, True, written.token_ids)
    assert sorted(spent) == ["replayed", "written"]
    assert difference <= 1e-5 * max(1.0, float(np.abs(written.scores).max()))
    with pytest.raises(BenchmarkError, match="another response"):
        replay.one_round(tracer, REQUESTS[0], 4, False, written.token_ids[:-1])
