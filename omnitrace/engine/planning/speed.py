"""How fast a model reads and writes here, measured on the request itself."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Final, Self

from omnitrace.engine.planning.costs import SignalCost
from omnitrace.engine.planning.memory import Sizes
from omnitrace.models.base import LoadOptions, ModelAdapter
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.generation import greedy_ids
from omnitrace.models.loading import load_adapter

__all__ = ["Speed"]

_TOKENS: Final = 9  # that are written to see how long one takes


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds that a model takes to read a token of a prompt, and to write one."""

    reading: float
    writing: float

    @classmethod
    def measured(
        cls, model: str, options: LoadOptions, request: EncodedRequest, device: str
    ) -> Self:
        """Load the model, let it read the prompt, and let it write a few tokens."""
        spread = device == "auto"
        options = dataclasses.replace(
            options,
            weights=True,
            device_map="auto" if spread else None,
            device=None if spread else device,
        )
        adapter = load_adapter(model, options)
        _timed(adapter, request, 1)  # threads and memory are there from now on
        first, _ = _timed(adapter, request, 1)
        more, written = _timed(adapter, request, _TOKENS)
        reading = first / request.prompt_length
        return cls(reading, max(0.0, more - first) / max(1, written - 1))

    def timed(self, cost: SignalCost, sizes: Sizes) -> SignalCost:
        """Return the cost with its seconds, where its passes are known."""
        if cost.problem or cost.passes is None:
            return cost
        seconds = self.reading * (sizes.prompt + cost.passes * sizes.context)
        seconds += self.writing * cost.decoding * sizes.new
        return dataclasses.replace(cost, seconds=seconds)


def _timed(adapter: ModelAdapter, request: EncodedRequest, tokens: int) -> tuple[float, int]:
    """Return the seconds that writing so many tokens takes, and how many were written."""
    started = time.perf_counter()
    written = len(greedy_ids(adapter, request.encoded, tokens))
    return time.perf_counter() - started, written
