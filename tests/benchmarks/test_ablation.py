"""The benchmark of ablation: its options, and its two paths on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest

import ablation
from tests.helpers import naive_ablation as naive


def test_defaults_depend_on_quick() -> None:
    full, quick = ablation.parse([]), ablation.parse(["--quick"])
    assert (full.units, full.masks) == (24, 64)
    assert quick.masks < full.masks
    assert ablation.parse(["--quick", "--masks", "5"]).masks == 5


@pytest.mark.parametrize("operator", ["attention", "mean"])
def test_both_paths_measure_the_same(operator: str) -> None:
    masks = naive.drawn(6)
    rows, values = ablation.compare(naive.family("llama"), masks, operator, 2)
    assert [row[1] for row in rows] == ["loop", "shared"]
    assert all(len(row) == len(ablation._COLUMNS) for row in rows)
    assert values["difference"] < 1e-4
    assert values["tokens"]["shared"] < values["tokens"]["loop"]
    turns = values["turns"]
    assert sum(turn["masks"] for turn in turns) == 2 * values["masks"]
    spent = [
        turn[path][clock] for turn in turns for path in ("shared", "loop") for clock in turn[path]
    ]
    assert all(each >= 0 for each in spent)
    expected = naive.by_attention if operator == "attention" else naive.by_mean
    made = naive.family("llama")
    np.testing.assert_allclose(
        ablation.loop(made, masks, operator), expected(made, masks), atol=1e-4
    )


def test_the_ratio_is_of_sums_and_of_each_clock() -> None:
    turns = [
        ablation.Turn(1, ablation.Spent(1.0, 2.0), ablation.Spent(4.0, 2.0)),
        ablation.Turn(2, ablation.Spent(2.0, 1.0), ablation.Spent(2.0, 2.0)),
    ]
    assert ablation.ratio_of(turns, "wall").value == 0.5
    cpu = ablation.ratio_of(turns, "cpu")
    assert cpu.value == 0.75
    assert cpu.low == 0.5
    assert cpu.high == 1.0


def test_equal_masks_are_measured_once() -> None:
    masks = np.repeat(naive.drawn(3), 2, axis=0)
    _, values = ablation.compare(naive.family("llama"), masks, "attention", 1)
    assert values["masks"] == len(np.unique(masks, axis=0)) - int(masks.all(axis=1).any())
