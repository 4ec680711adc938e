"""Stability: whether a statement keeps its supports where nothing that matters is changed.

The same response is attributed again, token by token, by other signals; with the sources in another
order; with the question in other words; with sources added that it does not need; and by another
model. Units are matched by their content, wherever they stand.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from omnitrace._utils.checks import check_whole
from omnitrace._utils.paths import base_of_path
from omnitrace.ablation.draws import generator
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.sanity.cases import Case, Draws
from omnitrace.evaluation.sanity.overlap import (
    Attributed,
    Overlap,
    attributed,
    attributed_by,
    overlap_of,
    overlaps,
)
from omnitrace.evaluation.sanity.variants import (
    QUESTION,
    TEMPLATES,
    Variant,
    distracted,
    distractors_of,
    reordered,
    reworded,
)
from omnitrace.sources.messages import Conversation
from omnitrace.tracer import Tracer

__all__ = ["CHANGES", "Change", "Stability", "StabilityOptions", "Unchanged", "stability"]

Change: TypeAlias = Literal["signals", "order", "instruction", "distractors", "model"]
CHANGES: Final[tuple[Change, ...]] = get_args(Change)
"""What is changed: the signal, the order of sources, the words around the question, ..."""


@dataclass(frozen=True, slots=True)
class StabilityOptions:
    """What is changed, and how often.

    Parameters
    ----------
    shuffles:
        Orders of the sources, for each request.
    templates:
        What is written around the question, which stands where ``{question}`` is.
    distractors:
        Sources that are added at once: those of other requests, or built-in sentences.

    Raises
    ------
    InputError
        If there is no shuffle, template or distractor, or a template has no place for the question.
    """

    shuffles: int = 2
    templates: tuple[str, ...] = TEMPLATES
    distractors: int = 2

    def __post_init__(self) -> None:
        check_whole("shuffles", self.shuffles, 1)
        check_whole("distractors", self.distractors, 1)
        if not self.templates or not all(QUESTION in each for each in self.templates):
            raise InputError(
                f"the templates are {self.templates!r}", legal=f"texts that hold {QUESTION!r}"
            )


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A request that could not be changed, or not attributed then, and why.

    ``signal`` is None where that holds for all of them.
    """

    example: str
    change: Change
    signal: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Stability:
    """How far supports stay.

    Attributes
    ----------
    rows:
        By signal, then change: against "signals" all the others, else the signal itself.
    pairs:
        Every two signals.
    done:
        By change and example, what was done.
    model:
        The second model.
    unchanged:
        What is in no figure.
    """

    rows: tuple[Overlap, ...]
    pairs: tuple[Overlap, ...]
    done: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    model: str | None = None
    unchanged: tuple[Unchanged, ...] = ()

    def of(self, signal: str, change: Change) -> Overlap:
        """Return how far the supports of a signal stay under a change.

        Raises
        ------
        InputError
            If that was not measured.
        """
        for row in self.rows:
            if (row.signal, row.against) == (signal, change):
                return row
        legal = ", ".join(f"{row.signal} against {row.against}" for row in self.rows)
        raise InputError(f"{signal!r} was not compared against {change!r}", legal=legal)


def stability(
    tracers: Mapping[str, Tracer],
    cases: Sequence[Case],
    *,
    options: StabilityOptions | None = None,
    second: Mapping[str, Tracer] | None = None,
    interval: Draws | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> Stability:
    """Attribute every response again under each change, with every signal.

    Parameters
    ----------
    tracers, cases:
        By signal, from ``tracers_of``; the responses, from ``case_of``.
    options:
        What is changed, and how often.
    second:
        Tracers of another model, by the same signals: another size, or another seed of training. It
        is given the text of the response.
    interval, seed:
        Of the estimates; of the orders and distractors.
    progress:
        Called before each change of each response.

    Raises
    ------
    InputError
        If there is no response, or the second model's signals are others.
    """
    if not cases:
        raise InputError("there is no response", legal="at least one")
    if second is not None and list(second) != list(tracers):
        raise InputError(f"the second model has the signals {[*second]}", legal=f"{[*tracers]}")
    run = _Run(tracers, cases, options or StabilityOptions(), second, seed, progress)
    for case in cases:
        run.check(case)
    return run.found(interval or Draws(seed=seed))


#: By signal and change, or two signals: the figures of each example.
_Values: TypeAlias = dict[tuple[str, str], dict[str, list[np.ndarray]]]


class _Run:
    """The comparisons of all cases, as they come."""

    def __init__(
        self,
        tracers: Mapping[str, Tracer],
        cases: Sequence[Case],
        options: StabilityOptions,
        second: Mapping[str, Tracer] | None,
        seed: int,
        progress: ProgressCallback,
    ) -> None:
        self._tracers = tracers
        self._cases = cases
        self._options = options
        self._second = second
        self._seed = seed
        self._progress = progress
        self._rows: _Values = {}
        self._pairs: _Values = {}
        self._done: dict[str, dict[str, tuple[str, ...]]] = {}
        self._unchanged: list[Unchanged] = []

    def check(self, case: Case) -> None:
        """Compare what every signal says of a response with what it says elsewhere."""
        units = case.trace.units
        first = {
            name: attributed(units, spans, case.scores[name]) for name, spans in case.spans.items()
        }
        for one, other in itertools.combinations(first, 2):
            values = overlaps(first[one], first[other])
            _add(self._pairs, (one, other), case.name, values)
            for signal in (one, other):
                _add(self._rows, (signal, "signals"), case.name, values)
        for change, make in self._changes(case):
            self._progress(f"{case.name}: {change}")
            try:
                variants = make()
            except InputError as error:
                self._unchanged.append(Unchanged(case.name, change, None, error.found))
                continue
            done = tuple(each.done for each in variants)
            self._done.setdefault(change, {})[case.name] = done

            def again(tracer: Tracer, variants: list[Variant] = variants) -> list[Attributed]:
                ids = case.trace.token_ids
                return [
                    attributed_by(tracer.replay(each.conversation, ids), each.places)
                    for each in variants
                ]

            self._compare(case, change, first, self._tracers, again)
        if self._second is not None:
            self._progress(f"{case.name}: second model")

            def by_other(tracer: Tracer) -> list[Attributed]:
                asked = tracer.read(case.messages, media_root=case.media_root, **case.template)
                return [attributed_by(tracer.replay(asked, case.trace.text))]

            self._compare(case, "model", first, self._second, by_other)

    def _compare(
        self,
        case: Case,
        change: Change,
        first: Mapping[str, Attributed],
        tracers: Mapping[str, Tracer],
        again: Callable[[Tracer], list[Attributed]],
    ) -> None:
        for signal, tracer in tracers.items():
            try:
                values = [overlaps(first[signal], each) for each in again(tracer)]
            except OmnitraceError as error:
                self._unchanged.append(Unchanged(case.name, change, signal, error.found))
                continue
            _add(self._rows, (signal, change), case.name, *values)

    def _changes(self, case: Case) -> Iterator[tuple[Change, Callable[[], list[Variant]]]]:
        """Yield what makes the variants of a request, by change."""
        options = self._options
        asked = self._read(case)
        draws = functools.partial(generator, self._seed, case.name)
        yield "order", lambda: reordered(asked, options.shuffles, draws("order"))
        yield "instruction", lambda: reworded(asked, options.templates)
        yield "distractors", lambda: [self._distracted(case, asked, draws("distractors"))]

    def _distracted(self, case: Case, asked: Conversation, draws: np.random.Generator) -> Variant:
        count = self._options.distractors
        others = [each for each in self._cases if each is not case]
        drawn = [self._read(others[i]) for i in draws.permutation(len(others))[:count]]
        return distracted(asked, distractors_of(asked, drawn, count, draws), draws)

    def _read(self, case: Case) -> Conversation:
        tracer = next(iter(self._tracers.values()))  # all read alike
        return tracer.read(case.messages, media_root=case.media_root, **case.template)

    def found(self, interval: Draws) -> Stability:
        """Return all figures, by signal."""
        rows = [
            overlap_of(signal, change, _by_example(self._rows[signal, change]), interval)
            for signal, change in itertools.product(self._tracers, CHANGES)
            if (signal, change) in self._rows
        ]
        pairs = [
            overlap_of(*key, _by_example(values), interval) for key, values in self._pairs.items()
        ]
        model = None
        if self._second is not None:
            model = base_of_path(str(next(iter(self._second.values())).adapter.source))
        return Stability(tuple(rows), tuple(pairs), self._done, model, tuple(self._unchanged))


def _add(values: _Values, key: tuple[str, str], example: str, *found: np.ndarray) -> None:
    values.setdefault(key, {}).setdefault(example, []).extend(found)


def _by_example(values: Mapping[str, Sequence[np.ndarray]]) -> list[np.ndarray]:
    return [np.concatenate(each) for each in values.values()]
