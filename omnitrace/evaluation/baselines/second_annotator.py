"""The human-agreement ceiling: what a second annotator says, scored as any method is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.labels.matching import matched, named_units
from omnitrace.evaluation.labels.schema import Label, Source
from omnitrace.trace.trace import Trace

__all__ = ["HUMAN", "second_opinions"]

#: Name of the second annotator among the methods.
HUMAN: Final = "human"


def second_opinions(label: Label, second: Label, trace: Trace) -> Iterator[Prediction | None]:
    """Yield what a second annotator says of each item of a label.

    The sources of the second annotator become units by the rule that makes those of the first
    true, so that both agree where they name the same unit, however exactly they drew its box. A
    named unit scores 1, any other one 0. A source that no unit names counts as a wrong choice,
    unless the first annotator named just the same.

    Parameters
    ----------
    label, second:
        The labels of one request by two annotators. A span or word of the first is that of the
        second which overlaps most with it; where they are of other responses, the one of the same
        words.
    trace:
        A trace of the request; both labels fit it.

    Yields
    ------
    Prediction or None
        In the order of :func:`~omnitrace.evaluation.examples.items_of`: for each span, and then for
        each of its words. None where the second annotator labelled no such span or word.
    """
    same_text = label.response == second.response
    spans = matched(label.spans, second.spans, same_text=same_text)
    for labelled, span in zip(label.spans, spans, strict=True):
        yield None if span is None else _opinion(labelled.sources, span.sources, trace)
        words = matched(labelled.words, span.words if span else (), same_text=same_text)
        for word, other in zip(labelled.words, words, strict=True):
            yield None if other is None else _opinion(word.sources, other.sources, trace)


def _opinion(first: Sequence[Source], second: Sequence[Source], trace: Trace) -> Prediction:
    named: set[str] = set()
    for number, source in enumerate(second):
        units = named_units(source, trace.units, trace.messages)
        # Sources without a unit are called as `items_of` calls those of the first annotator.
        missed = f"\0unreachable {first.index(source)}" if source in first else f"\0other {number}"
        named |= units or {missed}
    scores = np.array([float(unit.id in named) for unit in trace.units])
    return Prediction(scores, frozenset(named))
