"""The benchmark of batches: its options, its figures, and both ways on a tiny model."""

from __future__ import annotations

from typing import Any

import pytest

import throughput
from common.clocks import Spent
from omnitrace import Tracer
from tests.helpers.text_adapters import own_text_adapter


def test_defaults_depend_on_quick() -> None:
    full, quick = throughput.parse([]), throughput.parse(["--quick"])
    assert tuple(full.batches) == (1, 2, 4, 8)
    assert full.prompts == ["short", "long"]
    assert quick.rounds < full.rounds
    assert throughput.parse(["--quick", "--rounds", "5"]).rounds == 5


def test_batches_are_compared_with_one_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        throughput.parse(["--batches", "2", "8"])
    assert "must have 1 among them" in capsys.readouterr().err


def test_both_ways_write_the_same() -> None:
    adapter = own_text_adapter()
    adapter.model.generation_config.eos_token_id = 2
    tracer = Tracer(adapter=adapter, signal="value-attention")
    asked: list[Any] = throughput.requests_of("short", 3)
    answering = throughput.Answering(tracer, asked, 4)
    assert len(set(answering.lengths)) > 1
    spent = answering.one_round([1, 2], 0)
    assert list(spent) == [1, 2]
    assert all(sorted(ways) == ["plain", "traced"] for ways in spent.values())
    assert all(each.wall > 0 for ways in spent.values() for each in ways.values())


def test_ratios_are_of_one_round_and_one_clock() -> None:
    rounds = [
        {
            1: {"plain": Spent(4.0, 2.0), "traced": Spent(5.0, 4.0)},
            8: {"plain": Spent(1.0, 1.0), "traced": Spent(2.0, 1.0)},
        }
    ]
    assert throughput.overheads(rounds, 8, "wall") == [2.0]
    assert throughput.overheads(rounds, 1, "cpu") == [2.0]
    assert throughput.speedups(rounds, 8, "wall") == [2.5]
    assert throughput.speedups(rounds, 8, "cpu") == [4.0]
