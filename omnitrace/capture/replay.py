"""Attention rows of a response that exists already, from one pass over prompt and response."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch

from omnitrace.capture.attention_hooks import AttentionCall
from omnitrace.capture.attention_rows import Scratch, attention_rows
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.capture.value_norms import ValueNorms
from omnitrace.capture.visibility import pass_mask

__all__ = ["ReplayCapture"]


class _PassTap:
    """Keeps the queries that predict the response, and the keys they looked at."""

    def __init__(self, layer: int, prompt_length: int, *, values: bool) -> None:
        self.layer = layer
        self.norms = ValueNorms() if values else None
        self._first = prompt_length - 1
        self._query: torch.Tensor | None = None
        self._key: torch.Tensor | None = None
        self._mask: torch.Tensor | None = None
        self._weights: torch.Tensor | None = None
        self._settings: dict[str, object] = {}

    def __call__(self, call: AttentionCall) -> None:
        length = call.query.shape[2]
        if self.norms is not None:
            self.norms.add(call, length, length)
        self._query = call.query[:, :, self._first :].detach().clone()
        self._key = call.key.detach()
        mask = pass_mask(call, self._first)
        self._mask = None if mask is None else mask.detach().clone()
        if call.weights is not None:
            self._weights = call.weights[:, :, self._first :].detach().float().clone()
        self._settings = {
            "scale": call.scale,
            "softcap": call.softcap,
            "sinks": call.sinks,
        }

    def read(
        self, first: int, steps: int, batch: slice, pad: int, scratch: Scratch | None
    ) -> torch.Tensor:
        """Return float32 ``[batch, heads, steps, context of the last - pad]``."""
        assert self._query is not None, "the model has not run"
        assert self._key is not None
        context = self._first + first + steps
        rows = slice(first, first + steps)
        if self._weights is not None:
            return self._weights[batch, :, rows, pad:context]
        return attention_rows(
            self._query[batch, :, rows],
            self._key[batch, :, pad:context],
            visible=range(context - pad - steps + 1, context - pad + 1),
            mask=None if self._mask is None else self._mask_of(batch, rows, pad, context),
            scratch=scratch,
            **self._settings,  # type: ignore[arg-type]
        )

    def _mask_of(self, batch: slice, rows: slice, pad: int, context: int) -> torch.Tensor:
        assert self._mask is not None
        mask = self._mask[..., pad:context]
        mask = mask if mask.shape[0] == 1 else mask[batch]
        return mask if mask.shape[2] == 1 else mask[:, :, rows]


class ReplayCapture:
    """The rows of all tokens of a response, read in blocks as those of a live response.

    The model runs once over prompt and response. Every layer keeps the response's queries and its
    keys; rows are computed a block of queries at a time, so that nothing of size ``n²`` exists.

    Parameters
    ----------
    layers:
        Indices of the layers to capture, ascending.
    prompt_length:
        Number of prompt tokens; in a batch, of the shortest prompt.
    values:
        Whether the norms of the value vectors are needed too.
    """

    forgets = False

    def __init__(self, layers: Sequence[int], prompt_length: int, *, values: bool = False) -> None:
        self.taps = [_PassTap(layer, prompt_length, values=values) for layer in layers]
        self._prompt_length = prompt_length
        self._scratch = Scratch()
        self._first = 0

    def select(self, token_id: int) -> None:
        """Take note of a token; rows do not depend on it."""

    def select_all(self, ids: Sequence[int | None]) -> None:
        """Take note of the tokens of a batch; rows do not depend on them."""

    def rows(
        self, steps: int, *, batch: int = 0, first: int = 0, pad: int = 0
    ) -> Iterator[LayerRows]:
        """Yield the rows of ``steps`` tokens, layer by layer; see :class:`BatchCapture`."""
        first += self._first
        context = self._prompt_length - 1 + first + steps
        chosen = slice(batch, batch + 1)
        for tap in self.taps:
            norms = tap.norms
            yield LayerRows(
                tap.layer,
                functools.partial(self._read, tap, first, steps, chosen, pad),
                value_norms=None if norms is None else norms.reader(context, batch, pad),
            )

    def take(self, steps: int) -> list[LayerRows]:
        """Hand over the next ``steps`` tokens; see :meth:`Capture.take`."""
        taken = list(self.rows(steps))
        self.drop(steps)
        return taken

    def drop(self, steps: int) -> None:
        """Go on to the tokens after the next ``steps``."""
        self._first += steps

    def _read(
        self, tap: _PassTap, first: int, steps: int, batch: slice, pad: int, reuse: bool
    ) -> torch.Tensor:
        return tap.read(first, steps, batch, pad, self._scratch if reuse else None)[0]
