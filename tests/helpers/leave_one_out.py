"""The simplest span signal: what each span loses without one unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from omnitrace import Span
from omnitrace.ablation import ResponseScorer, span_logprobs
from omnitrace.signals.base import Effect, SpanSignal


class LeaveOneOut(SpanSignal):
    """The drop of each span's log-probability without one unit."""

    name = "leave-one-out"
    parameters: ClassVar = {"operator": "mean"}

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        count = len(scorer.units)
        keep = torch.cat([torch.ones(1, count), 1 - torch.eye(count)]).bool()
        values = span_logprobs(scorer, keep, spans)
        drops = (values[:1] - values[1:]).T.tolist()
        return [
            {
                unit: Effect(drop, drop - 0.1, drop + 0.1)
                for unit, drop in zip(scorer.units, row, strict=True)
            }
            for row in drops
        ]
