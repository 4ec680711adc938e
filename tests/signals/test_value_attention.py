"""Value-weighted attention equals its formula on eager rows and explicit value norms."""

from __future__ import annotations

import pytest
import torch

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.signals.attention import ValueAttention
from tests.helpers.attention_rows import absolute, eager_rows
from tests.helpers.tiny_models import PROMPT, tiny
from tests.helpers.value_norms import explicit

NEW = 5


@pytest.mark.parametrize("family", ["llama", "mistral-sliding"])
def test_the_formula(family: str) -> None:
    model = tiny(family)
    modules = attention_modules(model.get_decoder())
    capture = RowCapture(range(len(modules)), 10, values=True)
    with tapped(model, modules, capture.taps):
        ids = model.generate(**PROMPT, max_new_tokens=NEW, do_sample=False)
        scores = ValueAttention().score(capture.rows(NEW))
    norms = explicit(model, PROMPT, ids)
    _, rows = eager_rows(tiny(family), PROMPT, NEW)
    for step, layers in enumerate(rows):
        context = 10 + step
        parts = []
        for row, norm in zip(layers, norms, strict=True):
            carried = (absolute(row, context)[0] * norm[:, :context]).sum(0)
            parts.append(carried / carried.sum())
        torch.testing.assert_close(
            scores[step, :context], torch.stack(parts).mean(0), atol=1e-5, rtol=0
        )
        assert float(scores[step].sum()) == pytest.approx(1, abs=1e-5)
        assert not scores[step, context:].any()
