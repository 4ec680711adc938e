"""Make the examples of many requests: one after the other, or in processes of their own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from omnitrace.ablation.masks import generator
from omnitrace.errors import GivenUpError, InputError, OmnitraceError
from omnitrace.estimator.collect import CollectOptions, Collector
from omnitrace.estimator.examples import Example, HeldOut
from omnitrace.evaluation.progress import ProgressCallback
from omnitrace.runs.attempts import ATTEMPTS, attempted
from omnitrace.runs.executor import Executor
from omnitrace.runs.folder import LocalFolder
from omnitrace.sources.request_files import FileEntry, RequestEntry, RequestProblem
from omnitrace.tracer import Tracer

__all__ = ["Gathering", "Spread", "examples_maker"]

_Made: TypeAlias = Example | HeldOut | OmnitraceError
_Item: TypeAlias = tuple[int, RequestEntry, bool]
_FEWEST: Final = 3


@dataclass(frozen=True, slots=True)
class Spread:
    """The processes that measure for the training of an estimator, on one machine or many.

    Attributes
    ----------
    executor:
        What starts them and hands out the requests.
    load:
        Makes the tracer in each of them, as that which the training is given; it is pickled.
    attempts:
        After how many processes that it ended a request is given up.
    """

    executor: Executor
    load: Callable[[], Tracer]
    attempts: int = ATTEMPTS


class MakeExamples(Protocol):
    """Makes the examples of requests."""

    def __call__(
        self, entries: Sequence[FileEntry], *, held_out: bool, show: Callable[[FileEntry], None]
    ) -> Iterator[tuple[int, _Made]]:
        """Yield the index of each request and what became of it; ``show`` is told of progress."""
        ...


@dataclass(frozen=True, slots=True)
class Gathering:
    """Gathers the examples of a training, and reports which requests fail.

    Attributes
    ----------
    make:
        Makes the examples.
    seed:
        Of the draw of those that are held out.
    progress, failed:
        As for :func:`~omnitrace.estimator.train_estimator`.
    """

    make: MakeExamples
    seed: int
    progress: ProgressCallback
    failed: Callable[[str, OmnitraceError], None] | None

    def held_out(
        self, requests: Sequence[FileEntry], share: float
    ) -> tuple[list[HeldOut], list[FileEntry]]:
        """Hold a share of the requests out, drawn by the seed; return also those that are left.

        One that cannot be used is replaced by the next that is drawn.
        """
        count = len(requests)
        if count < _FEWEST:
            raise InputError(
                f"{count} requests to train on",
                legal="at least 3: two to learn from, one held out; 100 or more for use",
            )
        wanted = min(max(1, round(share * count)), count - 2)
        found: list[HeldOut] = []
        order = generator(self.seed, "held out").permutation(count).tolist()
        used = 0
        while len(found) < wanted and used < count:
            drawn = [requests[i] for i in order[used : used + wanted - len(found)]]
            used += len(drawn)
            found += self._made(drawn, held_out=True, done=len(found), count=wanted)
        return found, [requests[i] for i in sorted(order[used:])]

    def learning(self, requests: Sequence[FileEntry]) -> list[Example]:
        """Make the examples that are learnt from."""
        return self._made(requests, held_out=False, done=0, count=len(requests))

    def _made(
        self, entries: Sequence[FileEntry], *, held_out: bool, done: int, count: int
    ) -> list[Any]:
        """Return the examples, in the order of the requests."""
        found: dict[int, _Made] = {}
        finished = 0

        def show(entry: FileEntry) -> None:
            number = done + (len(found) if held_out else finished) + 1
            label = "held out" if held_out else "to learn from"
            self.progress(f"{entry.id}: {label} ({number} of {count})")

        for index, made in self.make(entries, held_out=held_out, show=show):
            finished += 1
            if not isinstance(made, OmnitraceError):
                found[index] = made
            elif self.failed is None:
                raise made
            else:
                self.failed(entries[index].id, made)
        return [found[index] for index in sorted(found)]


def examples_maker(collector: Collector, spread: Spread | None, cache: Path | None) -> MakeExamples:
    """Return what makes examples: this process, or those of ``spread``.

    Raises
    ------
    InputError
        If several processes have no folder that says what they began.
    """
    if spread is None:
        return functools.partial(_here, collector)
    if cache is None:
        raise InputError(
            "several processes measure, and nothing is kept", fix="name a folder: cache=…"
        )
    worker = functools.partial(
        _Worker.make, spread.load, collector.options, cache.absolute(), spread.attempts
    )
    return functools.partial(_elsewhere, spread.executor, worker)


def _here(
    collector: Collector,
    entries: Sequence[FileEntry],
    *,
    held_out: bool,
    show: Callable[[FileEntry], None],
) -> Iterator[tuple[int, _Made]]:
    for index, entry in enumerate(entries):
        show(entry)
        if isinstance(entry, RequestProblem):
            yield index, entry.error
        else:
            yield index, _made_by(collector, entry, held_out)


def _elsewhere(
    executor: Executor,
    worker: Callable[[], _Worker],
    entries: Sequence[FileEntry],
    *,
    held_out: bool,
    show: Callable[[FileEntry], None],
) -> Iterator[tuple[int, _Made]]:
    items: list[_Item] = []
    for index, entry in enumerate(entries):
        if isinstance(entry, RequestProblem):
            yield index, entry.error
        else:
            items.append((index, entry, held_out))
    with contextlib.closing(executor.map(worker, items)) as finished:
        for index, made in finished:
            show(entries[index])
            yield index, made


def _made_by(collector: Collector, entry: RequestEntry, held_out: bool) -> _Made:
    try:
        return collector.held_out(entry) if held_out else collector.example(entry)
    except OmnitraceError as error:
        return error


@dataclass(frozen=True, slots=True)
class _Worker:
    """Makes examples in a process of its own, and gives up what ends process after process."""

    collector: Collector
    folder: LocalFolder
    attempts: int

    @classmethod
    def make(
        cls, load: Callable[[], Tracer], options: CollectOptions, cache: Path, attempts: int
    ) -> _Worker:
        return cls(Collector(load(), options, cache=cache), LocalFolder(cache), attempts)

    def __call__(self, item: _Item) -> tuple[int, _Made]:
        index, entry, held_out = item
        try:
            with attempted(self.folder, entry, self.attempts):
                return index, _made_by(self.collector, entry, held_out)
        except GivenUpError as error:
            return index, error
