"""Which source units are true for labelled evidence, and which span of a trace a label is of.

*A unit names the evidence if more than half of the smaller of the two lies in the other.* Of the
smaller, since a cell of an image is larger than the shape that it shows, and a second longer than
the bang in it. The measure is characters, pixels of area, or seconds. Where no unit of the part
passes, those that share most with the evidence do, if they share anything. Both must be of one
part and one stream: the sound of a video and its pictures are different sources.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.schema import (
    ImageSource,
    Label,
    LabelledSpan,
    LabelledWord,
    Source,
    TextSource,
    TimeSource,
)
from omnitrace.sources.regions import boxes_of
from omnitrace.sources.token_map import Box, shared_area
from omnitrace.trace.trace import Trace
from omnitrace.types import ImageRegion, Message, SourceUnit, Span, TextRange, TimeRange

__all__ = [
    "Box",
    "fits",
    "match_spans",
    "matched",
    "named_units",
    "part_of",
    "quoted_range",
    "true_units",
    "word_range",
]


class Placed(Protocol):
    """A piece of a response: characters ``[start, end)``, and what stands there."""

    @property
    def start(self) -> int:
        """First character."""

    @property
    def end(self) -> int:
        """The character after the last one."""

    @property
    def text(self) -> str:
        """What the response says there."""


PlacedT = TypeVar("PlacedT", bound=Placed)

# Two shares of the same size may differ by rounding; they are ties all the same.
_TIE: Final = 1e-9


def true_units(
    sources: Iterable[Source], units: Sequence[SourceUnit], messages: Sequence[Message] = ()
) -> frozenset[str]:
    """Return the ids of the units that name any of the sources.

    Parameters
    ----------
    sources:
        The evidence, as labelled.
    units:
        The source units of the request.
    messages:
        The request's messages; only a quote needs them.

    Raises
    ------
    InputError
        If a quote does not occur exactly once in its part.
    """
    return frozenset().union(*(named_units(source, units, messages) for source in sources))


def named_units(
    source: Source, units: Sequence[SourceUnit], messages: Sequence[Message] = ()
) -> frozenset[str]:
    """Return the ids of the units that name one source; empty where none shares anything with it.

    Raises
    ------
    InputError
        If a quote does not occur exactly once in its part.
    """
    here = [unit for unit in units if fits(unit, source)]
    if isinstance(source, ImageSource) and source.box is None:
        return frozenset(unit.id for unit in here)
    if not here:
        return frozenset()
    if isinstance(source, TextSource):
        source = _ranged(source, messages)
    measured = [(unit.id, *_overlap(unit, source)) for unit in here]
    passing = frozenset(name for name, common, smaller in measured if common > 0.5 * smaller)
    most = max(common for _, common, _ in measured)
    if passing or most <= 0:
        return passing
    return frozenset(name for name, common, _ in measured if common >= most * (1 - _TIE))


def fits(unit: SourceUnit, source: Source) -> bool:
    """Whether a unit is of the part, and of the stream, that a source is in."""
    locator = unit.locator
    if (locator.message, locator.part) != (source.message, source.part):
        return False
    if isinstance(source, TextSource):
        return isinstance(locator, TextRange)
    if isinstance(source, ImageSource):
        return isinstance(locator, ImageRegion)
    return isinstance(locator, TimeRange) and source.stream in (None, unit.modality)


def _overlap(unit: SourceUnit, source: Source) -> tuple[float, float]:
    """Return what unit and source share, and the size of the smaller of the two."""
    locator = unit.locator
    if isinstance(locator, ImageRegion):
        assert isinstance(source, ImageSource)
        assert source.box is not None
        x0, y0, x1, y1 = source.box
        cells = boxes_of(locator)
        common = sum(shared_area(cell, source.box) for cell in cells)
        size = sum(shared_area(cell, cell) for cell in cells)
        return common, min(size, (x1 - x0) * (y1 - y0))
    assert isinstance(source, TextSource | TimeSource)
    assert source.start is not None
    assert source.end is not None
    common = max(0.0, min(locator.end, source.end) - max(locator.start, source.start))
    return common, min(locator.end - locator.start, source.end - source.start)


def _ranged(source: TextSource, messages: Sequence[Message]) -> TextSource:
    """Return the source with its quote resolved to characters."""
    if source.quote is None:
        return source
    part = part_of(messages, source.message, source.part)
    text = part.get("text") if part else None
    if not isinstance(text, str):
        raise InputError(
            f"the quote {source.quote!r} is of message {source.message}, part {source.part}, "
            "which is no text",
            legal="a text part of the request",
        )
    start, end = quoted_range(source.quote, text)
    return source.model_copy(update={"start": start, "end": end, "quote": None})


def quoted_range(quote: str, text: str) -> tuple[int, int]:
    """Return the characters of a text that a quote stands for.

    Raises
    ------
    InputError
        If the quote does not occur exactly once.
    """
    start = text.find(quote)
    if start < 0:
        raise InputError(
            f"the quote {quote!r} does not occur in the text",
            legal="words of the part, letter for letter",
        )
    if text.find(quote, start + 1) >= 0:
        raise InputError(
            f"the quote {quote!r} occurs more than once in the text",
            legal="a quote that occurs once",
            fix="quote more of it, or write 'start' and 'end'",
        )
    return start, start + len(quote)


def part_of(messages: Sequence[Message], message: int, part: int) -> dict[str, Any] | None:
    """Return a part of the messages of a trace, or None where there is none."""
    if not 0 <= message < len(messages):
        return None
    content = messages[message]["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return content[part] if 0 <= part < len(content) else None


def match_spans(label: Label, trace: Trace) -> tuple[Span | None, ...]:
    """Find the span of the trace that each labelled span is; None where the trace does not say it.

    Where the response is the labelled one, it is the span of largest overlap (the first of
    several). Otherwise it is a span of the same words, apart from white space around them: the
    first labelled one is the first in the trace, the second the second, and so on.
    """
    return matched(label.spans, trace.spans, same_text=trace.text == label.response)


def matched(
    spans: Sequence[Placed], others: Sequence[PlacedT], *, same_text: bool
) -> tuple[PlacedT | None, ...]:
    """Find the one of ``others`` that each span is, as :func:`match_spans` does.

    Parameters
    ----------
    spans, others:
        Pieces of a response.
    same_text:
        Whether both are of the same response, so that their characters can be compared.
    """
    if same_text:
        return tuple(_overlapping(span, others) for span in spans)
    said: dict[str, list[PlacedT]] = defaultdict(list)
    for other in reversed(others):
        said[other.text.strip()].append(other)
    found = (said[span.text.strip()] for span in spans)
    return tuple(named.pop() if named else None for named in found)


def _overlapping(labelled: Placed, spans: Sequence[PlacedT]) -> PlacedT | None:
    def shared(span: PlacedT) -> int:
        return min(span.end, labelled.end) - max(span.start, labelled.start)

    best = max(spans, key=shared, default=None)
    return best if best is not None and shared(best) > 0 else None


def word_range(
    word: LabelledWord, labelled: LabelledSpan, span: Span, *, same_text: bool
) -> tuple[int, int]:
    """Return the characters of the trace's response that are a word of a labelled span.

    Where the responses differ around a span of the same words, the word keeps its distance from
    the span's first letter.

    Parameters
    ----------
    word, labelled:
        The labelled word and its span.
    span:
        The span of the trace that :func:`match_spans` found.
    same_text:
        Whether the trace's response is the labelled one.
    """
    if same_text:
        return word.start, word.end
    offset = _first_letter(span) - _first_letter(labelled)
    return word.start + offset, word.end + offset


def _first_letter(span: Placed) -> int:
    return span.start + len(span.text) - len(span.text.lstrip())
