"""The comparison with Ray: what it measures, and with what."""

from __future__ import annotations

import pytest

from common.report import BenchmarkError
from omnitrace import Tracer
from throughput_ray import entries_of, one_way, parse


def test_defaults_depend_on_quick() -> None:
    full, quick = parse([]), parse(["--quick"])
    assert (full.requests, full.rounds, full.actors) == (40, 3, [1, 2])
    assert (quick.requests, quick.rounds) == (6, 1)


def test_the_plain_loop_is_timed_from_the_loading_on(reference: Tracer) -> None:
    options = {"max_new_tokens": 2}
    tracer = reference.with_options(signal="value-attention", verify=False)
    ends = one_way(0, lambda: tracer, entries_of(3), options)
    assert len(ends) == 3
    assert sorted(ends) == ends
    bad = entries_of(1)[0]
    bad.messages[0]["content"][0]["type"] = "smell"
    with pytest.raises(BenchmarkError, match="1 of 1 requests failed"):
        one_way(0, lambda: tracer, [bad], options)
