"""The kit for live span signals: a sound one passes, and each broken requirement is named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.base import Effect
from omnitrace.testing import (
    ConformanceError,
    LiveSpanSignalConformance,
    check_signal,
)
from omnitrace.types import SourceUnit
from tests.helpers.live_signals import DepthWeighted

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorials" / "write-a-signal.md").read_text(
    "utf-8"
)


def test_the_signal_of_the_page_keeps_its_contract() -> None:
    code = TUTORIAL.partition("## A live span signal")[2].partition("```python\n")[2]
    namespace: dict[str, Any] = {}
    exec(code.partition("```")[0].partition("\n\n\nfor ")[0], namespace)
    check_signal(namespace["LastLayers"])


class TestDepthWeighted(LiveSpanSignalConformance):
    signal = DepthWeighted


class Smooths(DepthWeighted):
    """Lets the tokens of a block see each other."""

    name = "smooths"

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        found = super().reduce(rows, units)
        return found - 0.1 * found.mean(dim=0)


class Counts(DepthWeighted):
    """Has one feature more with every request."""

    name = "counts"
    blocks = 0

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        self.blocks += 1
        return super().reduce(rows, units)[:, : 1 + self.blocks % 3]


class Draws(DepthWeighted):
    """Adds noise, from torch's own generator."""

    name = "draws"

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        found = super().reduce(rows, units)
        return found + 0.01 * torch.rand_like(found)


class Invents(DepthWeighted):
    """Gives an effect to a unit that there is not."""

    name = "invents"

    def effects_of(self, reduced: torch.Tensor, units: Sequence[SourceUnit]) -> dict[str, Effect]:
        return {"text-99": Effect(1.0)}


class Raises(DepthWeighted):
    name = "raises"

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        raise KeyError("attn")


@pytest.mark.parametrize(
    ("signal", "contract", "value"),
    [
        (Smooths, "later tokens change no earlier reduction", "in a response of 1 tokens"),
        (Counts, "as many features for every block", "was asked for"),
        (Draws, "seeded sampling", "instead of"),
        (Invents, "from ids of units to finite effects", "'text-99'"),
        (Raises, "reduce() returns without raising", "raised KeyError: 'attn'"),
    ],
)
def test_a_broken_live_span_signal_is_caught(signal: type, contract: str, value: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_signal(signal)
    assert contract in caught.value.contract
    assert value in caught.value.found
