"""What the engine reads from a capture, however its rows are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from omnitrace.capture.attention_hooks import Tap
from omnitrace.capture.layer_rows import LayerRows

__all__ = ["Capture"]


class Capture(Protocol):
    """Hands out what the decoder layers showed of the pending tokens, oldest first."""

    @property
    def taps(self) -> Sequence[Tap]:
        """What the attention modules call, one for each captured layer."""
        ...

    @property
    def forgets(self) -> bool:
        """Whether rows are finished with every step, so that waiting for a block gains nothing."""
        ...

    def select(self, token_id: int) -> None:
        """Take note of the token that was written after the last step."""
        ...

    def rows(self, steps: int) -> Iterator[LayerRows]:
        """Yield the rows of the first ``steps`` pending tokens, layer by layer."""
        ...

    def take(self, steps: int) -> list[LayerRows]:
        """Hand over the rows of the first ``steps`` pending tokens, and forget these tokens.

        What is handed over is read later, in one other thread if need be: no step that the model
        takes in the meantime changes it.
        """
        ...

    def drop(self, steps: int) -> None:
        """Forget the first ``steps`` pending tokens."""
        ...
