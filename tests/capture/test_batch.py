"""Sequences of one batch read one capture at their own pace, without their padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.batch import Batch
from omnitrace.capture.decode import RowCapture
from omnitrace.models.generation import StepStreamer
from tests.helpers.tiny_models import tiny


class Noted:
    """A capture that notes what it is asked for."""

    taps = ()
    forgets = False

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int, int]] = []
        self.dropped: list[int] = []

    def select_all(self, ids: Sequence[int | None]) -> None:
        """Take no note."""

    def rows(self, steps: int, *, batch: int = 0, first: int = 0, pad: int = 0) -> Iterator[Any]:
        self.asked.append((steps, batch, first, pad))
        return iter(())

    def drop(self, steps: int) -> None:
        self.dropped.append(steps)


def test_what_all_have_read_is_forgotten() -> None:
    capture = Noted()
    batch = Batch(capture, pads=[0, 2], firsts=[1, 0])
    one, other = batch.sequences
    one.take(3)
    batch.forget()
    assert capture.dropped == []  # the other has read nothing
    other.take(2)
    batch.forget()
    other.take(1)
    assert capture.dropped == [2]
    assert capture.asked == [(3, 0, 1, 0), (2, 1, 0, 2), (1, 1, 0, 2)]


def test_a_sequence_that_has_ended_keeps_nothing() -> None:
    capture = Noted()
    batch = Batch(capture, pads=[0, 0])
    batch.sequences[0].ended = True
    batch.sequences[1].drop(4)
    batch.forget()
    assert capture.dropped == [4]
    batch.sequences[1].ended = True
    batch.forget()
    assert capture.dropped == [4]


@pytest.mark.parametrize("family", ["llama", "gemma3-mixed-window"])
def test_rows_of_a_sequence_are_those_without_padding(family: str) -> None:
    model, pads = tiny(family), [0, 4]
    ids = torch.tensor([[5, 17, 3, 88, 41, 60, 22], [0, 0, 0, 0, 9, 31, 64]])
    mask = torch.tensor([[1] * 7, [0] * 4 + [1] * 3])
    modules = attention_modules(model.get_decoder())
    capture = RowCapture(range(len(modules)), 7, values=True, pads=pads)
    batch = Batch(capture, pads)
    written: list[list[int]] = []
    with tapped(model, modules, capture.taps):
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=3,
            do_sample=False,
            streamer=StepStreamer(written.append),
        )
    assert len(written) == 3
    for sequence, pad in zip(batch.sequences, pads, strict=True):
        for layer in sequence.take(3):
            assert layer.weights.shape[1:] == (3, 9 - pad)
            assert layer.value_norms.shape[1:] == (9 - pad,)
            sums = layer.weights.sum(dim=-1)
            torch.testing.assert_close(sums, torch.ones_like(sums))
            torch.testing.assert_close(layer.mean(), layer.weights.mean(0))
