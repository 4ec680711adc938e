"""What a signal costs beside generating: dearer decoding, and passes over prompt and response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from omnitrace.engine.planning.memory import (
    Sizes,
    differentiating,
    generating,
    measuring,
    tracing,
)
from omnitrace.errors import OmnitraceError
from omnitrace.signals.base import LiveSpanSignal, Need, gradient_target
from omnitrace.signals.captum.base import CaptumSignal
from omnitrace.signals.mask_gradient import MaskGradient
from omnitrace.signals.resolution import Resolved
from omnitrace.signals.verified.options import Verify
from omnitrace.signals.verified.signal import Verified

__all__ = ["SignalCost", "cost_of_signal"]

# Measured with SmolLM2 (benchmarks/overhead.py, benchmarks/gradients.py): decoding over untraced.
_ROWS: Final = 1.05
_GRADIENTS: Final = 2.5
_BACKWARD: Final = 2.0  # a backward pass, in forward passes: it multiplies by every weight twice
_SCORER: Final = 2.0  # the response is read once, and once more to see that embeddings are all


@dataclass(frozen=True, slots=True)
class SignalCost:
    """What a request costs with one signal.

    Attributes
    ----------
    signal:
        Its name, with ``+ verify`` where its supports are verified.
    peak:
        Bytes in use at once beside what is loaded.
    decoding:
        Times that decoding takes over decoding without a tracer.
    passes:
        Passes over prompt and response after it, at most; None where that is not known.
    seconds:
        An estimate, where the model's speed was measured.
    problem:
        Why the request cannot be traced so; then nothing else is known.
    """

    signal: str
    peak: int = 0
    decoding: float = 1.0
    passes: float | None = 0.0
    seconds: float | None = None
    problem: str = ""


def cost_of_signal(signals: Resolved, verify: Verify | None, sizes: Sizes) -> SignalCost:
    """Predict what a signal costs, with or without verification."""
    span = signals.span
    needs: frozenset[Need] = signals.token.needs
    if isinstance(span, LiveSpanSignal):
        needs |= span.needs
    name = (span or signals.token).name + (" + verify" if verify is not None else "")
    peak = generating(sizes) + tracing(sizes, needs)
    decoding = _GRADIENTS if gradient_target(needs) is not None else _ROWS
    passes: float | None = 0.0
    if verify is not None:
        passes = _verification(verify, sizes)
        peak = max(peak, measuring(sizes, passes, keeps=True))
    elif span is not None and not isinstance(span, LiveSpanSignal):
        try:
            passes = _measured(span, sizes)
        except OmnitraceError as error:
            return SignalCost(name, problem=str(error))
        by_gradient = isinstance(span, MaskGradient) or getattr(span, "gradients", False)
        budget = passes if isinstance(span, Verified) else None
        later = differentiating(sizes) if by_gradient else measuring(sizes, budget)
        peak = max(peak, later)
    return SignalCost(name, peak, decoding, passes)


def _verification(verify: Verify, sizes: Sizes) -> float:
    return _SCORER + verify.tokens(sizes.context, sizes.modalities) / sizes.context


def _measured(span: object, sizes: Sizes) -> float | None:
    """Return how many passes a span signal takes; None where it does not say."""
    if isinstance(span, Verified):
        return 1 + _verification(span.options, sizes)
    if isinstance(span, MaskGradient):
        return _SCORER + 1 + _BACKWARD * sizes.spans
    if isinstance(span, CaptumSignal):
        each = 1 + _BACKWARD * span.gradients
        return _SCORER + each * span.passes(sizes.units, sizes.spans)
    return None
