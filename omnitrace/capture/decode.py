"""Attention rows of the tokens being generated, computed in blocks beside the model.

Each decoding step leaves its query (``[heads, dim]`` per layer) behind; the rows of a whole block
of steps are computed in one product against the cached keys, so that the keys are read once a
block and not once a token. Nothing of size ``n²`` ever exists. A cache that forgets (sliding
windows) or that may be rewritten gets its rows computed at once, one step at a time.
"""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from omnitrace.capture.attention_hooks import AttentionCall
from omnitrace.capture.attention_rows import Scratch, attention_rows
from omnitrace.capture.context_count import ContextCount
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.capture.value_norms import ValueNorms
from omnitrace.capture.visibility import PaddingMasks, last_mask
from omnitrace.errors import NotSupportedError

__all__ = ["RowCapture"]


@dataclass(slots=True)
class _Step:
    """What one decoding step left at one layer: its query, or its finished row."""

    context: int
    query: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    row: torch.Tensor | None = None


def _loose(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor without its graph; most have none, and this runs at every layer."""
    return tensor.detach() if tensor.requires_grad else tensor


class _Keys:
    """The newest keys of one layer.

    Those of earlier steps are their beginning, so all steps that wait to be read share them, and
    no copy of the cache is kept alive for the sake of an earlier step.
    """

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest: torch.Tensor | None = None


class _LayerTap:
    """Collects the steps of one decoder layer."""

    def __init__(
        self,
        layer: int,
        prompt_length: int,
        *,
        count: ContextCount,
        masks: PaddingMasks,
        deferred: bool,
        values: bool,
    ) -> None:
        self.layer = layer
        self.norms = ValueNorms() if values else None
        self.steps: deque[_Step] = deque()
        self._prompt_length = prompt_length
        self._count = count
        self._masks = masks
        self._deferred = deferred
        self._keys = _Keys()
        self._taken: weakref.ref[_Pending] | None = None
        self._scale = 1.0
        self._softcap: float | None = None
        self._sinks: torch.Tensor | None = None
        self.all: Iterable[_LayerTap] = ()

    def __call__(self, call: AttentionCall) -> None:
        if self._count.begin(self, call):
            for other in self.all:
                if other is not self:
                    other.release()  # longer keys are about to come; see RowCapture
        seen = self._count.seen
        if self.norms is not None:
            self.norms.add(call, self._count.new, seen)
        if seen < self._prompt_length:  # a chunk of a chunked prefill
            return
        if not self.steps:  # the layer's settings do not change from one call to the next
            self._scale, self._softcap, self._sinks = call.scale, call.softcap, call.sinks
        query = _loose(call.query)
        if query.shape[2] > 1:  # a view of the last one would keep those of the whole prompt alive
            query = query[:, :, -1:].clone()
        step = _Step(seen)
        keys = min(call.key.shape[2], seen)  # a static cache is longer than the context
        mask = last_mask(call, keys)
        if call.weights is not None:
            step.row = call.weights[:, :, -1:, :keys].detach().float().clone()
        elif self._may_defer(call, mask):
            step.query, step.mask = query, self._masks.needed(call, mask)
            self._keys.newest = _loose(call.key)
        else:
            step.row = self._row_now(call, query, keys, mask)
        self.steps.append(step)

    def _may_defer(self, call: AttentionCall, mask: torch.Tensor | None) -> bool:
        return (
            self._deferred
            and call.key.shape[2] == self._count.seen
            and not call.forgets
            and (mask is None or mask.dtype == torch.bool)
        )

    def _row_now(
        self, call: AttentionCall, query: torch.Tensor, keys: int, mask: torch.Tensor | None
    ) -> torch.Tensor:
        return attention_rows(
            query,
            call.key[:, :, :keys].detach(),
            scale=self._scale,
            visible=[keys],
            mask=None if mask is None else mask[:, :, None],
            softcap=self._softcap,
            sinks=self._sinks,
        )

    def release(self) -> None:
        """Let go of the keys, unless steps that were taken may still be read somewhere."""
        if self._taken is None or self._taken() is None:
            self._keys.newest = None

    def pending(self, steps: int, first: int = 0) -> _Pending:
        """Return what steps from ``first`` on left, such that no later call changes it."""
        chosen = [self.steps[first + i] for i in range(steps)]
        pending = _Pending(chosen, self._keys, self._scale, self._softcap, self._sinks)
        self._taken = weakref.ref(pending)  # steps are read in order: those before go first
        return pending

    def rows(self, steps: int) -> torch.Tensor:
        """Return float32 ``[batch, heads, steps, context of the last]`` of the first steps."""
        return self.pending(steps).rows()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _Pending:
    """What some steps left at one layer, and the keys that their queries looked at.

    A dynamic cache that grows makes a new tensor of its keys and leaves the old one alone, so they
    may be read while the model continues, in another thread too.
    """

    steps: Sequence[_Step]
    keys: _Keys
    scale: float
    softcap: float | None
    sinks: torch.Tensor | None

    @property
    def context(self) -> int:
        """How many positions the last step saw."""
        return self.steps[-1].context

    def rows(
        self, scratch: Scratch | None = None, *, batch: slice = slice(None), pad: int = 0
    ) -> torch.Tensor:
        """Return float32 ``[batch, heads, steps, context of the last]``.

        Of the sequences in ``batch`` alone, and without their first ``pad`` positions.
        """
        if all(step.query is not None for step in self.steps):
            return self._deferred_rows(self.steps, self.context, batch, pad, scratch)
        finished = [
            nn.functional.pad(step.row[batch], (step.context - step.row.shape[-1], 0))[..., pad:]
            if step.row is not None  # a windowed cache holds the most recent keys only
            else self._deferred_rows([step], step.context, batch, pad, None)
            for step in self.steps
        ]
        shape = (*finished[0].shape[:2], len(self.steps), self.context - pad)
        result = finished[0].new_zeros(shape)
        for i, row in enumerate(finished):
            result[:, :, i, : row.shape[-1]] = row[:, :, 0]
        return result

    def _deferred_rows(
        self,
        chosen: Sequence[_Step],
        context: int,
        batch: slice,
        pad: int,
        scratch: Scratch | None,
    ) -> torch.Tensor:
        key = self.keys.newest
        assert key is not None, "a deferred step always keeps the keys"
        mask = None
        if any(step.mask is not None for step in chosen):
            # Columns beyond a step's own context are excluded by `visible`; pad with True.
            parts = [
                nn.functional.pad(step.mask, (0, context - step.mask.shape[-1]), value=True)
                if step.mask is not None
                else torch.ones(1, 1, context, dtype=torch.bool, device=key.device)
                for step in chosen
            ]
            sequences = max(part.shape[0] for part in parts)
            whole = torch.stack([part.expand(sequences, -1, -1) for part in parts], dim=2)
            mask = (whole if sequences == 1 else whole[batch])[..., pad:]
        queries = [step.query for step in chosen if step.query is not None]
        return attention_rows(
            torch.cat(queries, dim=2)[batch],
            key[batch, :, pad:context],
            scale=self.scale,
            visible=[step.context - pad for step in chosen],
            mask=mask,
            softcap=self.softcap,
            sinks=self.sinks,
            scratch=scratch,
        )


class RowCapture:
    """The rows of the tokens generated so far, in blocks, for all decoder layers.

    Parameters
    ----------
    layers:
        Indices of the layers to capture, ascending.
    prompt_length:
        Number of prompt tokens, padding included.
    use_cache:
        Whether the model decodes with a key-value cache.
    deferred:
        Whether the cached keys stay valid until a block of steps is read (dynamic caches).
    values:
        Whether the norms of the value vectors are needed too.
    pads:
        How many positions at the beginning of each sequence of a batch are padding, where each is
        read without it.
    """

    def __init__(
        self,
        layers: Sequence[int],
        prompt_length: int,
        *,
        use_cache: bool = True,
        deferred: bool = True,
        values: bool = False,
        pads: Sequence[int] = (),
    ) -> None:
        count = ContextCount(use_cache=use_cache, dynamic=deferred)
        masks = PaddingMasks(pads)
        self.taps = [
            _LayerTap(
                layer, prompt_length, count=count, masks=masks, deferred=deferred, values=values
            )
            for layer in layers
        ]
        # The first layer's call begins a step. The others then let go of the keys of the step
        # before, so that a cache that grows finds their memory free, as it does untraced.
        every = weakref.WeakSet(self.taps)
        for tap in self.taps:
            tap.all = every
        self._scratch = Scratch()

    @property
    def forgets(self) -> bool:
        """Whether some layer holds finished rows, so that blocks should be as short as can be."""
        return any(tap.steps and tap.steps[0].row is not None for tap in self.taps)

    def rows(
        self, steps: int, *, batch: int = 0, first: int = 0, pad: int = 0
    ) -> Iterator[LayerRows]:
        """Yield the rows of ``steps`` pending steps, layer by layer; see :class:`BatchCapture`.

        Raises
        ------
        NotSupportedError
            If the layers did not see one step for each token (something other than plain
            token-by-token decoding ran).
        """
        for tap in self.taps:
            if len(tap.steps) < first + steps:
                raise NotSupportedError(
                    f"layer {tap.layer} attended {len(tap.steps)} times for {first + steps} "
                    "tokens, so rows cannot be matched with tokens",
                    legal="greedy decoding or sampling, one token a step",
                )
            pending = tap.pending(steps, first)
            norms = tap.norms
            yield LayerRows(
                tap.layer,
                functools.partial(self._read, pending, slice(batch, batch + 1), pad),
                value_norms=None if norms is None else norms.reader(pending.context, batch, pad),
            )

    def take(self, steps: int) -> list[LayerRows]:
        """Hand over the first ``steps`` pending steps; see :meth:`Capture.take`."""
        taken = list(self.rows(steps))
        self.drop(steps)
        return taken

    def select(self, token_id: int) -> None:
        """Take note of the token that was selected; rows do not depend on it."""

    def select_all(self, ids: Sequence[int | None]) -> None:
        """Take note of the tokens of a batch; rows do not depend on them."""

    def _read(self, pending: _Pending, batch: slice, pad: int, reuse: bool) -> torch.Tensor:
        return pending.rows(self._scratch if reuse else None, batch=batch, pad=pad)[0]

    def drop(self, steps: int) -> None:
        """Forget the first ``steps`` pending steps."""
        for tap in self.taps:
            for _ in range(steps):
                tap.steps.popleft()
