"""What the words of a span rest on: units that are alternatives, and the effects found for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitrace.types import Effect

__all__ = ["Found", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """Units of which one is enough for some words of a span, the best first.

    ``beside`` are the units that they were tried together with.
    """

    units: tuple[int, ...]
    beside: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The effect of a unit, and what it explains of each token of the span, in nats."""

    effect: Effect
    words: np.ndarray
