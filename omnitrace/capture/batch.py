"""Several sequences that the model runs in one batch, each read as if it had run alone.

One capture listens for all of them. A sequence is read without its padding and at its own pace,
because the blocks of tokens that are scored at once end where its own spans do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from omnitrace.capture.attention_hooks import Tap
from omnitrace.capture.layer_rows import LayerRows

__all__ = ["Batch", "BatchCapture", "SequenceCapture"]


class BatchCapture(Protocol):
    """A capture of a whole batch."""

    @property
    def taps(self) -> Sequence[Tap]:
        """What the attention modules call, one for each captured layer."""
        ...

    @property
    def forgets(self) -> bool:
        """Whether rows are finished with every step, so that waiting for a block gains nothing."""
        ...

    def select_all(self, ids: Sequence[int | None]) -> None:
        """Take note of the tokens that were written, None for a sequence that has ended."""
        ...

    def rows(
        self, steps: int, *, batch: int = 0, first: int = 0, pad: int = 0
    ) -> Iterator[LayerRows]:
        """Yield the rows of ``steps`` pending tokens of one sequence, layer by layer.

        Parameters
        ----------
        steps:
            How many tokens.
        batch:
            Which sequence.
        first:
            How many pending tokens come before these.
        pad:
            How many positions at its beginning are left out: its padding.
        """
        ...

    def drop(self, steps: int) -> None:
        """Forget the first ``steps`` pending tokens."""
        ...


class SequenceCapture:
    """What the engine reads of one sequence; the batch listens, and selects."""

    taps: Sequence[Tap] = ()

    def __init__(self, batch: Batch, index: int, pad: int, first: int) -> None:
        self._batch = batch
        self._index = index
        self._pad = pad
        self.read = first
        self.ended = False

    @property
    def forgets(self) -> bool:
        """Whether rows are finished with every step, so that waiting for a block gains nothing."""
        return self._batch.capture.forgets

    def select(self, token_id: int) -> None:
        """Take note of the token; it was selected with those of the whole batch."""

    def rows(self, steps: int) -> Iterator[LayerRows]:
        """Yield the rows of the next ``steps`` tokens, layer by layer."""
        batch = self._batch
        first = self.read - batch.dropped
        return batch.capture.rows(steps, batch=self._index, first=first, pad=self._pad)

    def take(self, steps: int) -> list[LayerRows]:
        """Hand over the next ``steps`` tokens; they must be read before the model goes on."""
        taken = list(self.rows(steps))
        self.drop(steps)
        return taken

    def drop(self, steps: int) -> None:
        """Go on to the tokens after the next ``steps``."""
        self.read += steps


class Batch:
    """The sequences of a batch, and the capture that listens for all of them.

    Parameters
    ----------
    capture:
        Listens to the model.
    pads:
        How many positions at the beginning of each sequence are padding.
    firsts:
        How many of the capture's tokens come before the first of each sequence.
    """

    def __init__(
        self, capture: BatchCapture, pads: Sequence[int], firsts: Sequence[int] | None = None
    ) -> None:
        self.capture = capture
        self.dropped = 0
        self.sequences = [
            SequenceCapture(self, index, pad, first)
            for index, (pad, first) in enumerate(zip(pads, firsts or [0] * len(pads), strict=True))
        ]

    def close(self) -> None:
        """Let go of the capture, and the keys that it holds, once every sequence was read."""
        del self.capture

    def forget(self) -> None:
        """Let go of what every sequence has read, or needs no more because it has ended."""
        reading = [each.read for each in self.sequences if not each.ended]
        if reading and (steps := min(reading) - self.dropped) > 0:
            self.capture.drop(steps)
            self.dropped += steps
