"""Many requests, in batches of requests of about one length; what cannot share one runs alone."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from omnitrace._utils.checks import check_options, check_whole
from omnitrace.engine.attributed import Attributed
from omnitrace.engine.batch import BatchSession, live_batch, replay_batch
from omnitrace.engine.options import BatchReplayOptions
from omnitrace.engine.prepare import (
    RequestAndResponse,
    read_request,
    read_request_and_response,
    template_arguments,
)
from omnitrace.engine.run import completed, finished
from omnitrace.engine.session import Session, live_session, replay_session
from omnitrace.engine.setup import Setup
from omnitrace.errors import InputError, NotSupportedError
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.generation import alone, generation_config, stop_at_last_position
from omnitrace.models.padding import refuses_padding
from omnitrace.sources.messages import Asked
from omnitrace.sources.responses.given import Response
from omnitrace.streaming.worker import stops_are_errors
from omnitrace.trace.trace import Trace

__all__ = ["OnError", "Result", "replayed_in_batches", "traced_in_batches"]

#: What becomes of the error of one request.
OnError: TypeAlias = Literal["raise", "return"]
#: What a request comes to.
Result: TypeAlias = "Trace | Exception"

_Pair: TypeAlias = tuple[Asked, Response]

T = TypeVar("T")
Item = TypeVar("Item")

_BATCHES: Final = 4  # of requests that are read ahead and sorted, unless told otherwise
_TO_THE_USER: Final = 4  # frames from the warning to the loop over the traces


@dataclass(frozen=True, slots=True)
class _Way(Generic[Item, T]):
    """How requests of one kind are read and run.

    Attributes
    ----------
    setup:
        The model and its options.
    read:
        Turns what the user gave into what can be run.
    request:
        The request of that.
    session, batch:
        Prepare to run one, or several together.
    reason:
        Says why none of them can share a batch, or one cannot; None where it can.
    """

    setup: Setup
    read: Callable[[Item], T]
    request: Callable[[T], EncodedRequest]
    session: Callable[[T], Session]
    batch: Callable[[Sequence[T]], BatchSession]
    reason: Callable[[T], str | None]


def traced_in_batches(
    setup: Setup,
    requests: Iterable[Asked],
    *,
    batch_size: int,
    window: int | None,
    on_error: OnError,
    options: Mapping[str, Any],
) -> Iterator[Result]:
    """Trace requests; see ``Tracer.trace_many``. Options are checked at once."""
    given = dict(options)
    seed, block = given.pop("seed", None), given.pop("block", None)
    root = given.pop("media_root", None)
    template = template_arguments(given.pop("tools", None), given.pop("chat_template_kwargs", None))
    block = setup.block if block is None else block
    check_whole("block", block, 1)
    _check_many(batch_size, window, on_error)
    if seed is not None and batch_size > 1:
        raise InputError(
            f"seed is {seed} for batches of {batch_size}: what is drawn for one request would "
            "depend on the others in its batch",
            legal="a seed with batch_size=1, or sampling in batches without one",
            fix="leave out seed, or pass batch_size=1",
        )
    config, rest = generation_config(setup.adapter.model, given)
    why = alone(config, rest)

    def reason(request: EncodedRequest) -> str | None:
        ends, _ = generation_config(setup.adapter.model, given)
        stop_at_last_position(ends, setup.adapter, request.prompt_length)
        if ends.max_new_tokens != config.max_new_tokens:
            return "a response may reach the last position that the model has learned"
        return why or refuses_padding(setup.adapter, len(setup.layers))

    way: _Way[Asked, EncodedRequest] = _Way(
        setup,
        read=lambda asked: read_request(setup, asked, root, template),
        request=lambda request: request,
        session=lambda request: live_session(setup, request, given, seed=seed, block=block),
        batch=lambda several: live_batch(setup, several, given, block=block),
        reason=reason,
    )
    return _results(way, requests, batch_size, window, on_error)


def replayed_in_batches(
    setup: Setup,
    pairs: Iterable[_Pair],
    *,
    batch_size: int,
    window: int | None,
    on_error: OnError,
    options: BatchReplayOptions,
) -> Iterator[Result]:
    """Attribute responses that exist already; see ``Tracer.replay_many``."""
    check_options("replay_many()", options, BatchReplayOptions.__annotations__)
    template = template_arguments(options.get("tools"), options.get("chat_template_kwargs"))
    root, given_block = options.get("media_root"), options.get("block")
    block = setup.block if given_block is None else given_block
    check_whole("block", block, 1)
    _check_many(batch_size, window, on_error)

    def read(pair: _Pair) -> RequestAndResponse:
        return read_request_and_response(setup, *pair, None, root, template)

    way: _Way[_Pair, RequestAndResponse] = _Way(
        setup,
        read=read,
        request=lambda given: given.request,
        session=lambda given: replay_session(setup, given, block=block),
        batch=lambda several: replay_batch(setup, several, block=block),
        reason=lambda given: refuses_padding(setup.adapter, len(setup.layers)),
    )
    return _results(way, pairs, batch_size, window, on_error)


def _check_many(batch_size: int, window: int | None, on_error: str) -> None:
    check_whole("batch_size", batch_size, 1)
    if window is not None:
        check_whole("window", window, batch_size)
    if on_error not in ("raise", "return"):
        raise InputError(f"on_error is {on_error!r}", legal="'raise' or 'return'")


def _results(
    way: _Way[Item, T],
    items: Iterable[Item],
    batch_size: int,
    window: int | None,
    on_error: OnError,
) -> Iterator[Result]:
    """Yield what the requests come to, in their order."""
    runner = _Runner(way, batch_size)
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, window or batch_size * _BATCHES)):
        waiting: dict[int, Result] = {}
        place = 0
        for index, result in runner.run(chunk):
            waiting[index] = result
            while place in waiting:
                found = waiting.pop(place)
                place += 1
                if isinstance(found, Exception) and on_error == "raise":
                    raise found
                yield found


@dataclass(slots=True)
class _Runner(Generic[Item, T]):
    """Runs requests in batches, and alone what cannot share one."""

    way: _Way[Item, T]
    batch_size: int
    _said: set[str] = field(default_factory=set)

    def run(self, chunk: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield the result of each, by its place in ``chunk``, as soon as it is there."""
        ready: list[tuple[int, T]] = []
        for index, item in enumerate(chunk):
            try:
                ready.append((index, self.way.read(item)))
            except Exception as error:  # the others are not lost
                yield index, error
        for reason, batch in self._batches(ready):
            if reason is None and len(batch) > 1:
                yield from self._together(batch)
            else:
                yield from self._alone(batch, reason)

    def _batches(
        self, ready: Sequence[tuple[int, T]]
    ) -> list[tuple[str | None, list[tuple[int, T]]]]:
        """Put what may share a batch together, by length; the one that is waited for first."""
        groups: dict[Hashable, list[tuple[int, T]]] = {}
        for index, each in ready:
            request = self.way.request(each)
            reason = self.way.reason(each) if self.batch_size > 1 else None
            options = repr(sorted(request.encoded.generate_options.items()))
            kind = reason, options, frozenset(request.encoded.inputs)
            groups.setdefault(kind, []).append((index, each))
        batches = []
        for (reason, *_), members in groups.items():  # type: ignore[misc]
            members.sort(key=lambda each: self.way.request(each[1]).prompt_length)
            for first in range(0, len(members), self.batch_size):
                batches.append((reason, members[first : first + self.batch_size]))
        return sorted(batches, key=lambda each: min(index for index, _ in each[1]))

    def _together(self, batch: Sequence[tuple[int, T]]) -> Iterator[tuple[int, Result]]:
        ran = self._ran([each for _, each in batch])
        if isinstance(ran, str):
            yield from self._alone(batch, ran)
            return
        for (index, _), member in zip(batch, ran, strict=True):
            yield index, _outcome(functools.partial(self._finished, member))

    def _ran(self, several: Sequence[T]) -> Sequence[Attributed] | str:
        """Run a batch; return its members, or why they must run alone.

        What the batch and its error hold of the model's tensors is let go of with the return.
        """
        try:
            with stops_are_errors():
                session = self.way.batch(several)
                session.run()
        except NotSupportedError as error:
            return str(error)
        except Exception as error:  # whose fault it is, only running them alone can say
            return f"the batch failed: {type(error).__name__}: {error}"
        return session.members

    def _finished(self, member: Attributed) -> Trace:
        member.engine.check()
        return completed(self.way.setup, member)

    def _alone(
        self, batch: Sequence[tuple[int, T]], reason: str | None
    ) -> Iterator[tuple[int, Result]]:
        if reason is not None and reason not in self._said:
            self._said.add(reason)
            warnings.warn(
                f"requests run one at a time: {reason}", RuntimeWarning, stacklevel=_TO_THE_USER
            )
        for index, each in batch:
            yield index, _outcome(functools.partial(self._run, each, reason))

    def _run(self, each: T, reason: str | None) -> Trace:
        session = self.way.session(each)
        if reason is not None:
            record = {"size": 1, "alone": reason}
            session.generation = {**session.generation, "batch": record}
        return finished(self.way.setup, session)


def _outcome(run: Callable[[], Trace]) -> Result:
    """Return the trace, or the error of one request, which must not hold up the others."""
    try:
        with stops_are_errors():
            return run()
    except Exception as error:
        return error
