"""The attention signals equal a plain mean over what eager attention returns."""

from __future__ import annotations

import pytest
import torch

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.signals.attention import AttentionLast, AttentionMean
from tests.helpers.attention_rows import absolute, eager_rows
from tests.helpers.tiny_models import tiny

INPUTS = {"input_ids": torch.arange(1, 11)[None], "attention_mask": torch.ones(1, 10).long()}
NEW = 6


@pytest.mark.parametrize("family", ["llama", "mistral-sliding"])
@pytest.mark.parametrize("signal", [AttentionMean(), AttentionLast()], ids=lambda s: s.name)
def test_scores_equal_the_mean_of_eager_rows(
    signal: AttentionMean | AttentionLast, family: str
) -> None:
    model = tiny(family)
    modules = attention_modules(model.get_decoder())
    layers = list(signal.layers(range(len(modules))))
    capture = RowCapture(layers, 10)
    with tapped(model, [modules[i] for i in layers], capture.taps):
        model.generate(**INPUTS, max_new_tokens=NEW, do_sample=False)
        scores = signal.score(capture.rows(NEW))
    _, expected = eager_rows(tiny(family), INPUTS, NEW)
    assert scores.shape == (NEW, 10 + NEW - 1)
    for step, rows in enumerate(expected):
        means = [absolute(rows[i], 10 + step)[0].mean(0) for i in layers]
        expected_row = torch.stack(means).mean(0)
        torch.testing.assert_close(scores[step, : 10 + step], expected_row, atol=1e-6, rtol=0)
        assert not scores[step, 10 + step :].any()


def test_rows_that_are_kept_are_not_overwritten_by_the_next_layer() -> None:
    """``weights`` is fresh memory; only ``mean`` works in memory that layers share."""
    model = tiny("llama")
    modules = attention_modules(model.get_decoder())
    capture = RowCapture(range(3), 10)
    with tapped(model, modules, capture.taps):
        model.generate(**INPUTS, max_new_tokens=NEW, do_sample=False)
        kept = [layer.weights for layer in capture.rows(NEW)]
        means = [layer.mean() for layer in capture.rows(NEW)]
    for weights, mean in zip(kept, means, strict=True):
        torch.testing.assert_close(weights.mean(0), mean)
    assert not torch.equal(kept[0], kept[1])
