"""The bytes that are in use at once while a request is traced, phase by phase.

A response is generated; then, where supports are measured, the finished response is scored. The
peak is that of the larger phase; what is loaded lies below both.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from omnitrace.models.memory import (
    MEMORY,
    batch_row_bytes,
    cache_bytes,
    kept_bytes,
    row_bytes,
    rows_within,
    shape_of,
)
from omnitrace.signals.base import Need, gradient_target
from omnitrace.types import Modality

__all__ = ["Sizes", "differentiating", "generating", "measuring", "tracing"]

_FLOAT: Final = 4  # bytes of a number of the tracer's own


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the memory of a request depends on.

    Attributes
    ----------
    model, itemsize:
        The model, which needs no weights, and the bytes of a number in it.
    prompt, new:
        Tokens of the prompt and of the response.
    sources, units, spans:
        Prompt tokens of source units, how many units there are, and about how many spans the
        response will have.
    modalities:
        Those of the sources.
    inputs:
        Bytes of what the model is fed: pixels, sound, token ids.
    block:
        Tokens whose rows are computed at once.
    """

    model: Any
    itemsize: int
    prompt: int
    new: int
    sources: int
    units: int
    spans: int
    modalities: frozenset[Modality]
    inputs: int
    block: int

    @property
    def context(self) -> int:
        """Tokens of prompt and response."""
        return self.prompt + self.new

    def cache(self, tokens: int) -> int:
        """Bytes of the keys and values of so many tokens."""
        return cache_bytes(self.model, tokens, self.itemsize)

    def row(self, tokens: int, logits: int, *, gradients: bool = False) -> int:
        """Bytes of a pass over so many tokens."""
        return row_bytes(self.model, tokens, logits, self.itemsize, gradients=gradients)


def generating(sizes: Sizes) -> int:
    """Return the peak while a response is generated without a tracer.

    That is the end of the prefill, or the last step, when a layer's keys are copied to grow.
    """
    layers = shape_of(sizes.model).layers
    end = sizes.cache(sizes.context)
    prefill = sizes.cache(sizes.prompt) + sizes.row(sizes.prompt, 1)
    return sizes.inputs + max(prefill, end + end // layers + sizes.row(1, 1))


def tracing(sizes: Sizes, needs: Collection[Need]) -> int:
    """Return what a signal with these needs adds to that."""
    shape = shape_of(sizes.model)
    row = shape.heads * sizes.context * _FLOAT
    scores = sizes.new * sizes.context * _FLOAT
    if gradient_target(needs) is not None:  # rows and gradients of every layer, a step at a time
        held = 2 * shape.layers * row + 6 * row
    else:  # queries of a block in all layers; the rows of one
        steps = min(sizes.block, sizes.new)
        held = shape.layers * steps * shape.heads * shape.head_width * sizes.itemsize
        held += 3 * steps * row
    if "values" in needs:
        held += shape.layers * (row + shape.heads * shape.head_width**2 * _FLOAT)
    return held + scores


def measuring(sizes: Sizes, budget: float | None = None, *, keeps: bool = False) -> int:
    """Return the peak while units of a finished response are ablated, as verification does.

    Units are tried alone, where what is hidden need not run, and left out, about two a span.

    Parameters
    ----------
    sizes:
        Of the request.
    budget:
        How many passes over prompt and response that may cost; None for any number.
    keeps:
        Whether keys and values of prompt and response are kept meanwhile, as verification does.
    """
    model, context = sizes.model, sizes.context
    kept = kept_bytes(model, context, sizes.itemsize, MEMORY) if keeps else 0
    fed = 2 * context * shape_of(model).width * _FLOAT  # embeddings, and those without units
    peaks = [sizes.row(context, sizes.new)]
    alone = context - sizes.sources + sizes.sources // max(1, sizes.units)
    for count, tokens, shared in ((sizes.units, alone, 0), (2 * sizes.spans, context, context)):
        row = batch_row_bytes(model, tokens, tokens, sizes.new, sizes.itemsize)
        if budget is not None:
            count = min(count, max(1, int(budget * context / tokens)))
        waits = 0 if kept else sizes.cache(shared)
        peaks.append(min(count, rows_within(MEMORY - kept, row)) * row + waits)
    return sizes.inputs + fed + kept + max(peaks)


def differentiating(sizes: Sizes) -> int:
    """Return the peak while a finished response is differentiated through all layers at once.

    Of the attention, the rows of one layer are made again on the way back.
    """
    shape = shape_of(sizes.model)
    graph = sizes.row(sizes.context, sizes.new, gradients=True)
    rows = (shape.heads + 1) * sizes.context**2 * _FLOAT
    return sizes.inputs + graph + 4 * rows
