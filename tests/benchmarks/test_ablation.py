"""The benchmark of ablation: its options, and its two paths on a tiny model."""

from __future__ import annotations

import ablation
import numpy as np
import pytest

from tests.ablation import naive


def test_defaults_depend_on_quick() -> None:
    full, quick = ablation.parse([]), ablation.parse(["--quick"])
    assert (full.units, full.masks) == (24, 64)
    assert quick.masks < full.masks
    assert quick.rounds < full.rounds
    assert ablation.parse(["--quick", "--masks", "5"]).masks == 5


@pytest.mark.parametrize("operator", ["attention", "mean"])
def test_both_paths_measure_the_same(operator: str) -> None:
    masks = naive.drawn(6)
    rows, values = ablation.compare(naive.family("llama"), masks, operator, 1)
    assert [row[1] for row in rows] == ["loop", "shared"]
    assert all(len(row) == len(ablation._COLUMNS) for row in rows)
    assert values["difference"] < 1e-4
    assert values["tokens"]["shared"] < values["tokens"]["loop"]
    expected = naive.by_attention if operator == "attention" else naive.by_mean
    made = naive.family("llama")
    np.testing.assert_allclose(
        ablation.loop(made, masks, operator), expected(made, masks), atol=1e-4
    )
