"""The contract of a live span signal: each requirement, with the function that checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import torch

from omnitrace.attribution.effects import EFFECTS_OF
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import ConformanceError
from omnitrace.signals.base import Effect, LiveSpanSignal
from omnitrace.signals.contract import (
    LAYERS,
    REDUCED_FINITE,
    REDUCED_SHAPE,
    REDUCED_TENSOR,
    REDUCES,
)
from omnitrace.testing.contract import Requirement, requirements
from omnitrace.testing.harness import TOKENS, SignalHarness
from omnitrace.testing.tokens import chooses_layers, description_violation, tokens_violation
from omnitrace.trace.trace import Trace
from omnitrace.types import SourceUnit

__all__ = ["LIVE_REQUIREMENTS"]

# Of the largest reduction: more than the rounding of float32 in another order of summation.
_SAME: Final = 1e-4
_IDENTICAL: Final = 1e-6


class _Recorded(LiveSpanSignal):
    """Another signal, under its own name, with all that it reduces kept."""

    def __init__(self, signal: LiveSpanSignal) -> None:
        self.signal = signal
        self.name = signal.name
        self.parameters = signal.parameters
        self.needs = signal.needs
        self.kept: list[torch.Tensor] = []

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        return self.signal.layers(available)

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reduce, and keep a copy."""
        found = self.signal.reduce(rows, units)
        if isinstance(found, torch.Tensor):
            self.kept.append(found.detach().clone())
        return found

    def effects_of(self, reduced: torch.Tensor, units: Sequence[SourceUnit]) -> dict[str, Effect]:
        return self.signal.effects_of(reduced, units)


def _observed(
    harness: SignalHarness, *, tokens: int = TOKENS, block: int = 16
) -> tuple[torch.Tensor, Trace]:
    """Trace the request; return the reductions ``[tokens, features, units]`` and the trace."""
    recorded = _Recorded(harness.signal)
    trace = harness.trace(tokens=tokens, block=block, signal=recorded)
    return torch.cat(recorded.kept), trace


def _failure(harness: SignalHarness) -> ConformanceError | None:
    try:
        harness.trace(block=5)
    except ConformanceError as error:
        return error
    return None


def _fails_with(contract: str) -> Callable[[SignalHarness], str | None]:
    def violation(harness: SignalHarness) -> str | None:
        error = _failure(harness)
        if error is None or error.contract != contract:
            return None
        return error.found.removeprefix(f"{harness.subject} ")

    return violation


def _describes_itself(harness: SignalHarness) -> str | None:
    return description_violation(harness)


def _reduces(harness: SignalHarness) -> str | None:
    return _fails_with(REDUCES)(harness)


def _tensor(harness: SignalHarness) -> str | None:
    return _fails_with(REDUCED_TENSOR)(harness)


def _shape(harness: SignalHarness) -> str | None:
    return _fails_with(REDUCED_SHAPE)(harness)


def _finite(harness: SignalHarness) -> str | None:
    return _fails_with(REDUCED_FINITE)(harness)


def _effects(harness: SignalHarness) -> str | None:
    return _fails_with(EFFECTS_OF)(harness)


def _restored(harness: SignalHarness) -> str | None:
    harness.trace()
    change = harness.change()
    return None if change is None else f"left something changed: {change}"


def _greedy_tokens(harness: SignalHarness) -> str | None:
    return tokens_violation(harness.untraced(sampled=False), harness.trace(block=1).token_ids)


def _sampled_tokens(harness: SignalHarness) -> str | None:
    written = harness.trace(block=1, sampled=True).token_ids
    return tokens_violation(harness.untraced(sampled=True), written)


def _deterministic(harness: SignalHarness) -> str | None:
    (first, one), (second, other) = _observed(harness), _observed(harness)
    found = _difference(first, second, "a second time", _IDENTICAL)
    if found is not None:
        return found
    for span, again in zip(one.spans, other.spans, strict=True):
        if span.effects != again.effects:
            return f"gave span {span.index} other effects a second time"
    return None


def _later_tokens(harness: SignalHarness) -> str | None:
    whole, _ = _observed(harness)
    for count in (1, 5):
        part, _ = _observed(harness, tokens=count)
        when = f"in a response of {count} tokens instead of {TOKENS}"
        found = _difference(whole[:count], part, when, _SAME)
        if found is not None:
            return found
    return None


def _block_size(harness: SignalHarness) -> str | None:
    whole, _ = _observed(harness)
    for block in (1, 5):
        part, _ = _observed(harness, block=block)
        found = _difference(whole, part, f"read {block} at a time instead of 16", _SAME)
        if found is not None:
            return found
    return None


def _difference(
    expected: torch.Tensor, found: torch.Tensor, when: str, tolerance: float
) -> str | None:
    apart = (expected.float() - found.float()).abs()
    if float(apart.max()) <= tolerance * float(expected.abs().max()):
        return None
    token, feature, unit = (apart == apart.max()).nonzero()[0].tolist()
    values = expected[token, feature, unit], found[token, feature, unit]
    return (
        f"reduced generated token {token} to {float(values[0]):g} in feature {feature} of unit "
        f"{unit}, and {when} to {float(values[1]):g}"
    )


LIVE_REQUIREMENTS: Final[tuple[Requirement[SignalHarness], ...]] = requirements(
    {
        "a live span signal has a name, JSON-ready parameters, and needs rows and values at "
        "most": _describes_itself,
        LAYERS: chooses_layers,
        REDUCES: _reduces,
        REDUCED_TENSOR: _tensor,
        REDUCED_SHAPE: _shape,
        REDUCED_FINITE: _finite,
        EFFECTS_OF: _effects,
        "the model and torch's settings stay as they were": _restored,
        "greedy decoding writes the untraced model's tokens": _greedy_tokens,
        "seeded sampling writes the untraced model's tokens": _sampled_tokens,
        "the same response has the same reductions and effects": _deterministic,
        "later tokens change no earlier reduction": _later_tokens,
        "reductions do not depend on how many tokens are read at once": _block_size,
    }
)
