"""A request with known evidence, and a signal that never looks at the model."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.base import TokenSignal

FACTS = (
    "The lamp weighs seven grams. Rain fell on the roof. The cup weighs five grams. "
    "The market opens early. The spoon weighs nine grams."
)
QUESTIONS = "What does the lamp weigh? What does the cup weigh?"
MESSAGES = [
    {
        "role": "user",
        "content": [{"type": "text", "text": FACTS}, {"type": "text", "text": QUESTIONS}],
    }
]
#: What the facts say of the questions, and the indices of the units that say it.
ANSWER = "The lamp weighs seven grams. The cup weighs five grams."
TRUE_UNITS = (0, 2)


class Blind(TokenSignal):
    """Scores positions by a fixed pattern: right about nothing, whatever the model is."""

    name = "blind"

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        _, steps, context = next(iter(rows)).weights.shape
        places = torch.arange(context)
        pattern = (places * 7 % 11 + 1).float()
        seen = places[None] <= context - steps + torch.arange(steps)[:, None]
        return pattern * seen
