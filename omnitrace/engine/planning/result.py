"""A plan: the tokens of a request, the memory that it takes, and what each signal costs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from omnitrace.engine.planning.costs import SignalCost

__all__ = ["Plan", "PlannedSource"]


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """A part of the request: what the user calls it, its prompt tokens and its source units."""

    message: int
    part: int
    modality: str
    name: str
    tokens: int
    units: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request costs.

    Attributes
    ----------
    model, dtype, device:
        What it is planned for.
    sources:
        The parts of the request, in their order.
    prompt_tokens, max_new_tokens, context_limit:
        Tokens of the prompt and, at most, of the response; what the model takes of both together.
    weights, cache, process:
        Bytes of the weights, of keys and values at the end of the response, and, on the processor,
        of Python and its libraries, as they are in this process.
    loading:
        Bytes that loading takes beside the weights, on the processor.
    generating:
        Bytes in use at once, above :attr:`resident`, while a response is generated without a
        tracer.
    signals:
        What each signal costs. Its ``peak`` lies above :attr:`resident` too.
    available:
        Bytes of memory that may be used; None where that is not known.
    advice:
        What to change, where the request does not fit.
    """

    model: str
    dtype: str
    device: str
    sources: tuple[PlannedSource, ...]
    prompt_tokens: int
    max_new_tokens: int
    context_limit: int | None
    weights: int
    cache: int
    process: int
    loading: int
    generating: int
    signals: tuple[SignalCost, ...] = ()
    available: int | None = None
    advice: tuple[str, ...] = ()

    @property
    def resident(self) -> int:
        """Bytes of what is loaded before anything runs."""
        return self.weights + self.process

    @property
    def peak_untraced(self) -> int:
        """Bytes in use at once without a tracer."""
        return self.resident + max(self.loading, self.generating)

    @property
    def peak(self) -> int:
        """Bytes in use at once with the signal that takes most."""
        return self.resident + max([self.loading, *(each.peak for each in self.signals)])

    @property
    def fits(self) -> bool | None:
        """Whether the memory suffices for all signals; None where that is not known."""
        return None if self.available is None else self.peak <= self.available

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        more = {"peak_untraced": self.peak_untraced, "peak": self.peak, "fits": self.fits}
        return dataclasses.asdict(self) | more
