"""One labelled span or word with its truth and what the trace says of it: all that is scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from omnitrace.attribution.spans import tokens_of
from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.labels.matching import match_spans, named_units, true_units, word_range
from omnitrace.evaluation.labels.schema import ImageSource, Label, LabelledSpan, Source, TimeSource
from omnitrace.evaluation.labels.visibility import shown_units
from omnitrace.evaluation.unit_scores import scores_of_span
from omnitrace.sources.regions import boxes_of
from omnitrace.sources.token_map import Box
from omnitrace.trace.trace import Trace
from omnitrace.types import ImageRegion, SourceUnit, Span, TimeRange

if TYPE_CHECKING:
    from omnitrace.evaluation.measured_effects import MeasuredResponse

__all__ = ["LabelledItem", "Place", "labelled_items", "modality_of", "predicted_places"]

#: A box or an interval (as a box of height 1) in a part, ``(message, part)``.
Place: TypeAlias = tuple[tuple[int, int], Box]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledItem:
    """A labelled span or word of one example.

    Attributes
    ----------
    example, span, word:
        The label's id and the indices in it; ``word`` is None for a span.
    category, modality, sources, length:
        The label's category, where its evidence is (see :func:`modality_of`), how many sources, and
        the number of words of the labelled span.
    truth:
        Ids of the true units. A source that no unit names is there under a name that no unit has:
        it can only be missed.
    shown:
        For each source, the ids of the units that show it
        (:mod:`omnitrace.evaluation.labels.visibility`); none where no unit can be named for it.
    unreachable:
        How many sources no unit names.
    regions, seconds:
        The labelled boxes and intervals.
    options, option:
        For each option of a multiple-choice question, the ids of the units that carry it; and the
        index of the one that was chosen, None without options.
    units:
        The units of the request.
    prediction, top:
        What the trace says, None where it does not say the span; and its strongest support.
    tokens:
        Half-open range of generated tokens.
    masses:
        float ``[units]``: mass of each unit, summed over the tokens.
    grounding, ungrounded:
        Of the trace's span.
    effects:
        Whether the scores of the prediction are effects that a span signal gave.
    measured:
        What measures the response without some of its units, where a model was given.
    """

    example: str
    span: int
    word: int | None
    category: str | None
    modality: str
    sources: int
    length: int
    truth: frozenset[str]
    shown: tuple[frozenset[str], ...]
    unreachable: int
    regions: tuple[Place, ...]
    seconds: tuple[Place, ...]
    units: tuple[SourceUnit, ...]
    tokens: tuple[int, int] = (0, 0)
    masses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    prediction: Prediction | None = None
    top: str | None = None
    grounding: float = 0.0
    ungrounded: bool = False
    effects: bool = False
    options: tuple[frozenset[str], ...] = ()
    option: int | None = None
    measured: MeasuredResponse | None = None


def labelled_items(label: Label, trace: Trace) -> Iterator[LabelledItem]:
    """Yield the spans of a label, each followed by its words.

    Raises
    ------
    InputError
        If a source is not in the request; check the label first.
    """
    masses = trace.masses().assigned_units
    ranges = [(token.start, token.end) for token in trace.tokens]
    same_text = trace.text == label.response
    spans = match_spans(label, trace)
    for index, (labelled, span) in enumerate(zip(label.spans, spans, strict=True)):
        unsaid = _unsaid(label.id, index, None, labelled, labelled.sources, trace)
        unsaid = _with_options(unsaid, labelled, trace)
        yield unsaid if span is None else _said(unsaid, span, masses)
        for number, word in enumerate(labelled.words):
            unsaid = _unsaid(label.id, index, number, labelled, word.sources, trace)
            if span is None:
                yield unsaid
                continue
            tokens = tokens_of(ranges, *word_range(word, labelled, span, same_text=same_text))
            scores = masses[slice(*tokens)].sum(axis=0)
            prediction = Prediction(scores, frozenset())
            yield replace(unsaid, tokens=tokens, masses=scores, prediction=prediction)


def _said(unsaid: LabelledItem, span: Span, masses: np.ndarray) -> LabelledItem:
    """Add what the trace says of a labelled span."""
    tokens = (span.token_start, span.token_end)
    mass = masses[slice(*tokens)].sum(axis=0)
    scores = scores_of_span(span, unsaid.units, mass)
    return replace(
        unsaid,
        tokens=tokens,
        masses=mass,
        prediction=Prediction(scores, frozenset(each.unit.id for each in span.supports)),
        top=span.supports[0].unit.id if span.supports else None,
        grounding=span.grounding,
        ungrounded=span.ungrounded,
        effects=span.effects is not None,
    )


def _with_options(item: LabelledItem, labelled: LabelledSpan, trace: Trace) -> LabelledItem:
    if not labelled.options:
        return item
    options = tuple(
        true_units(option.sources, trace.units, trace.messages) for option in labelled.options
    )
    chosen = [option.chosen for option in labelled.options].index(True)
    return replace(item, options=options, option=chosen)


def _unsaid(
    example: str,
    index: int,
    word: int | None,
    labelled: LabelledSpan,
    sources: Sequence[Source],
    trace: Trace,
) -> LabelledItem:
    """Return what the label alone says of a span or word."""
    named = [named_units(source, trace.units, trace.messages) for source in sources]
    missed = [f"\0unreachable {i}" for i, found in enumerate(named) if not found]
    return LabelledItem(
        example=example,
        span=index,
        word=word,
        category=labelled.category,
        modality=modality_of(sources, trace),
        sources=len(sources),
        length=len(labelled.text.split()),
        truth=frozenset(missed).union(*named),
        shown=tuple(shown_units(source, trace.units, trace.messages) for source in sources),
        unreachable=len(missed),
        regions=tuple(_regions(sources, trace)),
        seconds=tuple(
            ((source.message, source.part), (source.start, 0.0, source.end, 1.0))
            for source in sources
            if isinstance(source, TimeSource)
        ),
        units=trace.units,
    )


def modality_of(sources: Iterable[Source], trace: Trace) -> str:
    """Say where evidence is: "text", "image", "audio", "video", "mixed", or "none" without any.

    Seconds of a video are of its pictures ("video") unless the source names its sound.
    """
    kinds = {(record.message, record.part): record.modality for record in trace.media}
    found = {
        source.stream or kinds.get((source.message, source.part), "video")
        if isinstance(source, TimeSource)
        else source.type
        for source in sources
    }
    return "mixed" if len(found) > 1 else found.pop() if found else "none"


def _regions(sources: Iterable[Source], trace: Trace) -> Iterator[Place]:
    sizes = {(record.message, record.part): record.size for record in trace.media}
    for source in sources:
        if isinstance(source, ImageSource):
            part = (source.message, source.part)
            width, height = sizes.get(part) or (0, 0)
            yield part, source.box or (0.0, 0.0, float(width), float(height))


def predicted_places(
    units: Iterable[SourceUnit], kind: type[ImageRegion] | type[TimeRange]
) -> list[Place]:
    """Return the boxes or intervals that together are the units of a kind."""
    found: list[Place] = []
    for unit in units:
        locator = unit.locator
        if not isinstance(locator, kind):
            continue
        part = (locator.message, locator.part)
        if isinstance(locator, ImageRegion):
            found += [(part, box) for box in boxes_of(locator)]
        else:
            found.append((part, (locator.start, 0.0, locator.end, 1.0)))
    return found
