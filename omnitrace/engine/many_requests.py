"""What a tracer does with many requests: the two methods that run them in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, Unpack, overload

from omnitrace.engine.many import (
    OnError,
    Result,
    replayed_in_batches,
    traced_in_batches,
)
from omnitrace.engine.options import BatchReplayOptions, TraceOptions
from omnitrace.engine.setup import Setup
from omnitrace.sources.messages import Asked
from omnitrace.sources.responses.given import Response
from omnitrace.trace.trace import Trace

__all__ = ["ManyRequests"]


class ManyRequests:
    """The methods of a :class:`~omnitrace.Tracer` for many requests."""

    setup: Setup

    @overload
    def trace_many(
        self,
        requests: Iterable[Asked],
        *,
        batch_size: int = ...,
        window: int | None = ...,
        on_error: Literal["raise"] = ...,
        **options: Unpack[TraceOptions],
    ) -> Iterator[Trace]: ...
    @overload
    def trace_many(
        self,
        requests: Iterable[Asked],
        *,
        batch_size: int = ...,
        window: int | None = ...,
        on_error: OnError,
        **options: Unpack[TraceOptions],
    ) -> Iterator[Result]: ...

    def trace_many(
        self,
        requests: Iterable[Asked],
        *,
        batch_size: int = 8,
        window: int | None = None,
        on_error: OnError = "raise",
        **options: Unpack[TraceOptions],
    ) -> Iterator[Result]:
        """Let the model respond to many requests, several at a time, and trace the responses.

        Each trace is that of :meth:`trace`, up to the rounding of a padded sequence: with greedy
        decoding the same tokens, unless two of them were equally likely up to that rounding.
        Supports are verified request by request, where that was asked. What cannot share a batch
        (layers that carry states, a setting of ``generate`` that counts the prompt's tokens, media
        that the adapter cannot join) runs alone: a warning says why, and the provenance of each
        trace keeps it under ``generation["batch"]``, as it keeps the size of a batch.

        Parameters
        ----------
        requests:
            Messages as for :meth:`trace`, or what :meth:`read` returned; any iterable, which is
            read as far as it is needed.
        batch_size:
            How many requests the model runs at once, at most. A batch needs the memory of that many
            requests of its longest.
        window:
            How many requests are read ahead, to put those of about one length together; they and
            their media are in memory at once. None takes four batches.
        on_error:
            What becomes of the error of one request, whatever its kind: "raise" it at its place,
            after the traces before it, which ends the iterator; or "return" it at the place of its
            trace, so that the others are not lost.
        options:
            As for :meth:`trace`; those that are given hold for every request.

        Yields
        ------
        Trace
            Of each request, in their order; with ``on_error="return"`` also exceptions.

        Raises
        ------
        InputError
            At once, if an option is wrong, or ``seed`` is given for batches of several: what is
            drawn for a request would depend on the others. Sampling without a seed works.
        """
        return traced_in_batches(
            self.setup,
            requests,
            batch_size=batch_size,
            window=window,
            on_error=on_error,
            options=options,
        )

    @overload
    def replay_many(
        self,
        pairs: Iterable[tuple[Asked, Response]],
        *,
        batch_size: int = ...,
        window: int | None = ...,
        on_error: Literal["raise"] = ...,
        **options: Unpack[BatchReplayOptions],
    ) -> Iterator[Trace]: ...
    @overload
    def replay_many(
        self,
        pairs: Iterable[tuple[Asked, Response]],
        *,
        batch_size: int = ...,
        window: int | None = ...,
        on_error: OnError,
        **options: Unpack[BatchReplayOptions],
    ) -> Iterator[Result]: ...

    def replay_many(
        self,
        pairs: Iterable[tuple[Asked, Response]],
        *,
        batch_size: int = 8,
        window: int | None = None,
        on_error: OnError = "raise",
        **options: Unpack[BatchReplayOptions],
    ) -> Iterator[Result]:
        """Attribute many responses that exist already, several at a time.

        Parameters
        ----------
        pairs:
            Of each request its messages and its response, as for :meth:`replay`.
        batch_size, window, on_error:
            As for :meth:`trace_many`.
        options:
            ``media_root``, ``block``, ``tools`` and ``chat_template_kwargs``, as for
            :meth:`replay`.

        Yields
        ------
        Trace
            As :meth:`trace_many`.
        """
        return replayed_in_batches(
            self.setup,
            pairs,
            batch_size=batch_size,
            window=window,
            on_error=on_error,
            options=options,
        )
