"""What a capture hands over stays what it was while the model goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest
import torch

from omnitrace import Tracer
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.attention import AttentionMean
from omnitrace.signals.base import Need
from tests.test_tracer import MESSAGES


class Seen(NamedTuple):
    """What a layer showed when its rows were taken."""

    layer: LayerRows
    weights: torch.Tensor
    mean: torch.Tensor
    norms: torch.Tensor
    gradients: torch.Tensor | None


class Keeping(AttentionMean):
    """Keeps every layer that it was shown, and a copy of what it read there."""

    name = "keeping"

    def __init__(self, *needs: Need) -> None:
        self.needs = frozenset({"rows", "values", *needs})
        self.seen: list[Seen] = []

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        layers = list(rows)
        for layer in layers:
            gradients = layer.gradients.clone() if len(self.needs) > 2 else None
            norms = layer.value_norms.clone()
            self.seen.append(Seen(layer, layer.weights.clone(), layer.mean(), norms, gradients))
        return super().score(layers)


@pytest.mark.parametrize(
    ("needs", "options"),
    [
        ((), {}),
        ((), {"cache_implementation": "static"}),
        (("logit-gradients",), {}),
    ],
    ids=["deferred", "at once", "gradients"],
)
def test_rows_that_were_taken_do_not_change(
    reference: Tracer, needs: tuple[Need, ...], options: dict[str, str]
) -> None:
    signal = Keeping(*needs)
    tracer = Tracer(adapter=reference.adapter, signal=signal, block=4)
    tracer.trace(MESSAGES, max_new_tokens=14, min_new_tokens=14, **options)
    assert len(signal.seen) > 3 * len(tracer.setup.layers)
    for seen in signal.seen:
        assert torch.equal(seen.layer.weights, seen.weights)
        assert torch.equal(seen.layer.mean(), seen.mean)
        assert torch.equal(seen.layer.value_norms, seen.norms)
        if seen.gradients is not None:
            assert torch.equal(seen.layer.gradients, seen.gradients)
