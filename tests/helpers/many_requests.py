"""Requests of several lengths, and what makes the traces of a batch equal to single ones."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from omnitrace import Trace, Tracer

#: Neither the first nor the last is the longest.
REQUESTS: Final[list[list[dict[str, Any]]]] = [
    [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]
    for texts in (
        ("The lamp is red. The cup weighs nine grams.", "Which colour is it?"),
        (
            "The chair is green. The door is red. The lamp is yellow. The window is blue.",
            "What colour is the lamp?",
        ),
        ("The box is blue.", "What?"),
    )
]


def single(tracer: Tracer, request: Any, new: int) -> Trace:
    """Return the trace of one request by itself."""
    return tracer.trace(request, max_new_tokens=new)


def assert_same(found: Any, expected: Trace, tolerance: float = 1e-5) -> None:
    """Compare tokens, text, spans, scores and supports; the rounding of sums may differ."""
    assert isinstance(found, Trace), found
    assert found.token_ids == expected.token_ids
    assert found.prompt_ids == expected.prompt_ids
    assert found.text == expected.text
    scale = max(1.0, float(np.abs(expected.scores).max()))
    np.testing.assert_allclose(found.scores, expected.scores, atol=tolerance * scale)
    for ours, theirs in zip(found.spans, expected.spans, strict=True):
        assert (ours.start, ours.end, ours.section) == (theirs.start, theirs.end, theirs.section)
        assert [each.unit for each in ours.supports] == [each.unit for each in theirs.supports]
        for mine, other in zip(ours.supports, theirs.supports, strict=True):
            assert abs(mine.share - other.share) < 1e-4
