"""Signals on layers that sit on several devices.

Torch's fake tensors have shapes and devices and no content, so that two accelerators can be had
where there is none: a signal that does not bring its layers together fails as it would there. They
are of a kind that hardly a machine has: of a kind that it has, torch would look for the second one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.plugins.registry import registry
from omnitrace.signals.base import TokenSignal
from tests.helpers.builtin_signals import BUILTIN_TOKEN_SIGNALS

EXAMPLE = Path(__file__).parents[2] / "plugins" / "omnitrace-example-signal"
HEADS, ROWS, CONTEXT = 2, 3, 5


def layer(index: int, device: str) -> LayerRows:
    def of(*shape: int) -> Any:
        return lambda *_: torch.ones(shape, device=device)

    return LayerRows(
        index,
        of(HEADS, ROWS, CONTEXT),
        gradients=of(HEADS, ROWS, CONTEXT),
        value_norms=of(HEADS, CONTEXT),
    )


def assert_brought_together(signal: TokenSignal) -> None:
    chosen = list(signal.layers(range(4)))
    layers = [layer(index, f"xpu:{place % 2}") for place, index in enumerate(chosen)]
    with FakeTensorMode():
        scores = signal.score(iter(layers))
    assert scores.shape == (ROWS, CONTEXT)
    assert scores.device == torch.device("xpu:0")


def test_torch_would_refuse() -> None:
    with FakeTensorMode(), pytest.raises(Exception, match="at least two devices"):
        torch.ones(2, device="xpu:0").add_(torch.ones(2, device="xpu:1"))


@pytest.mark.parametrize("signal", BUILTIN_TOKEN_SIGNALS)
def test_builtin_signals(signal: str) -> None:
    assert_brought_together(registry().signal(signal).make())


def test_the_example_that_authors_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    from omnitrace_example_signal import DeepFocus

    assert_brought_together(DeepFocus())
    sys.modules.pop("omnitrace_example_signal")
