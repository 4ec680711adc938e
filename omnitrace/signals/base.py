"""The two protocols that a signal can follow.

A *token signal* turns what one decoding step shows into one non-negative score per context token;
it knows nothing of units and spans. A *span signal* gives each source unit a signed effect on a
span, in nats where it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import torch

    from omnitrace.trace import Trace
    from omnitrace.types import Span

__all__ = ["Effect", "LayerRows", "Signal", "SpanSignal", "TokenSignal"]


class LayerRows:
    """Attention rows of one decoder layer for a few consecutive generated tokens.

    Row r is the softmax over the context of the query that predicts the r-th of these tokens;
    entries after that query are zero. A row sums to 1, or to less where the model has attention
    sinks outside the context.

    Parameters
    ----------
    layer:
        Index of the decoder layer.
    compute:
        Returns the rows; with True, in memory that the next layer may reuse.
    """

    __slots__ = ("_compute", "layer")

    def __init__(self, layer: int, compute: Callable[[bool], torch.Tensor]) -> None:
        self.layer = layer
        self._compute = compute

    @property
    def weights(self) -> torch.Tensor:
        """The rows, float32 ``[heads, rows, context]``, computed at each access."""
        return self._compute(False)

    def mean(self) -> torch.Tensor:
        """Return ``weights.mean(0)``, float32 ``[rows, context]``, in less time and memory."""
        return self._compute(True).mean(dim=0)


@runtime_checkable
class TokenSignal(Protocol):
    """Scores every context token for each generated token, while the model writes.

    Attributes
    ----------
    name:
        The name it is registered under.
    parameters:
        JSON-ready settings, kept in the trace's provenance.
    """

    name: str
    parameters: Mapping[str, Any]

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Choose the decoder layers whose rows are wanted, out of the ``available`` indices."""
        ...

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Return float32 ``[rows, context]``, non-negative and finite.

        ``rows`` yields the chosen layers in ascending order and computes each only when it is
        reached, so consume it once and reduce as you go.
        """
        ...


@dataclass(frozen=True, slots=True)
class Effect:
    """The predicted or measured drop of a span's log-probability when a unit is taken away.

    ``value`` is in nats where the signal is calibrated; ``low``/``high`` bound it where known.
    """

    value: float
    low: float | None = None
    high: float | None = None


@runtime_checkable
class SpanSignal(Protocol):
    """Gives each source unit a signed effect on each span of a finished or growing trace."""

    name: str
    parameters: Mapping[str, Any]

    def effects(self, trace: Trace, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        """Return, for each span, a map from unit id to its effect."""
        ...


Signal: TypeAlias = TokenSignal | SpanSignal
