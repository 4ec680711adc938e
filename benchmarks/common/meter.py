"""What an attribution costs, counted in the same way whoever computes it.

One *forward-equivalent* is one forward pass over the whole prompt and response. Tokens are counted
where they pass through the last layer's attention: those that run forward once, and those that a
gradient passes through on its way back twice, as is usual. Tokens read from a cache cost nothing.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import torch

from omnitrace.capture.attention_hooks import attention_modules

__all__ = ["Meter"]

_BACKWARD = 2


class Meter:
    """Counts tokens and seconds while it is open.

    Parameters
    ----------
    decoder:
        The text decoder of the model that is watched.
    """

    def __init__(self, decoder: torch.nn.Module) -> None:
        self.forward = 0
        self.backward = 0
        self.seconds = 0.0
        self._module = attention_modules(decoder)[-1]

    def __enter__(self) -> Meter:
        self._handle = self._module.register_forward_hook(self._count)
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._started
        self._handle.remove()

    def equivalents(self, tokens: int) -> float:
        """Return the forward-equivalents for a sequence of so many tokens."""
        return (self.forward + _BACKWARD * self.backward) / tokens

    def _count(self, module: Any, arguments: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        rows = hidden.shape[0] * hidden.shape[1]
        self.forward += rows
        if hidden.requires_grad:
            hidden.register_hook(lambda gradient: self._came_back(rows))

    def _came_back(self, rows: int) -> None:
        self.backward += rows
