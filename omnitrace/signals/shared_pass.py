"""A live span signal and "attention-mean" on the same rows, which are computed once for both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.attention import LayerMean
from omnitrace.signals.base import LiveSpanSignal, Sequential
from omnitrace.signals.contract import checked_scores, reduced

if TYPE_CHECKING:
    import torch

__all__ = ["Reduce", "averaged_and_read", "reducer_of", "scored_and_reduced"]

_Read = TypeVar("_Read")

#: From the rows of the next tokens of a response to float32 ``[rows, features, units]``.
Reduce: TypeAlias = "Callable[[Iterable[LayerRows]], torch.Tensor]"


class _Held(LayerRows):
    """A layer's rows, computed once for several readers, until the next layer's turn."""

    __slots__ = ("_found", "_layer")

    def __init__(self, layer: LayerRows) -> None:
        super().__init__(
            layer.layer, self._read, gradients=layer._gradients, value_norms=layer._value_norms
        )
        self._layer = layer
        self._found: torch.Tensor | None = layer._weights(True)

    def release(self) -> None:
        """Give the memory back; a later reader computes the rows again."""
        self._found = None

    def _read(self, reuse: bool) -> torch.Tensor:
        if self._found is None:
            return self._layer.weights  # the shared memory is another layer's now
        return self._found if reuse else self._found.clone()


def reducer_of(live: LiveSpanSignal, units: Sequence[Sequence[int]]) -> Reduce:
    """Return what reduces the blocks of one response, over the prompt positions of each unit."""
    if isinstance(live, Sequential):
        return live.reducer(units)
    return lambda rows: live.reduce(rows, units)


def scored_and_reduced(
    reduce: Reduce,
    rows: Sequence[LayerRows],
    shape: tuple[int, int],
    units: int,
    *,
    wanted: Collection[int],
    first: int,
    features: int | None,
    subject: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let a live span signal reduce ``rows``, and score them as "attention-mean" does.

    Parameters
    ----------
    reduce:
        The live span signal's, of this response.
    rows:
        What the layers show of a few consecutive generated tokens.
    shape:
        ``[rows, context]``.
    units:
        Number of units.
    wanted:
        The layers that the live span signal reads.
    first:
        Index of the generated token in the first row.
    features:
        Number of features so far; None for the first block.
    subject:
        What the live span signal is called in errors.

    Returns
    -------
    tuple of torch.Tensor
        Scores, float32 ``[rows, context]``, and reductions, float32 ``[rows, features, units]``.

    Raises
    ------
    ConformanceError
        If it does not keep its contract.
    OmnitraceError
        As it raised it.
    """

    def read(layers: Iterable[LayerRows]) -> torch.Tensor:
        return reduced(
            reduce, layers, shape[0], units, first=first, features=features, subject=subject
        )

    mean, reductions = averaged_and_read(rows, wanted, read)
    return checked_scores(mean, shape, first=first, subject="attention-mean"), reductions


def averaged_and_read(
    rows: Iterable[LayerRows], wanted: Collection[int], read: Callable[[Iterable[LayerRows]], _Read]
) -> tuple[torch.Tensor, _Read]:
    """Average all layers, and let another reader have some of them.

    The layers can be iterated once only. So the reader iterates, and each layer is added to the
    mean as it passes.

    Parameters
    ----------
    rows:
        What the layers show of a few consecutive generated tokens.
    wanted, read:
        The layers that the reader gets, and the reader: it need not draw on all of them.

    Returns
    -------
    tuple
        The mean, float32 ``[rows, context]``, and what the reader returned.
    """
    mean = LayerMean()
    layers = _passing(rows, wanted, mean)
    found = read(layers)
    for _ in layers:  # the reader may have had enough before the last layer
        pass
    return mean.result(), found


def _passing(
    rows: Iterable[LayerRows], wanted: Collection[int], mean: LayerMean
) -> Iterator[LayerRows]:
    """Yield the wanted layers; every layer is added to ``mean`` as it passes."""
    for layer in rows:
        if layer.layer not in wanted:
            mean.add(layer.mean())
            continue
        held = _Held(layer)
        mean.add(held.mean())
        yield held
        held.release()
