"""Generated samples: real media files, and statements whose evidence is known."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from omnitrace._utils.files import make_folder
from omnitrace.cli.console import StatusLine, describe, names_of_request, plain, print_span
from omnitrace.cli.demo.page import Page
from omnitrace.sources.request_files import RequestEntry, read_requests
from omnitrace.types import ImageRegion, Locator, Modality, SourceUnit, Span, TextRange, TimeRange

if TYPE_CHECKING:
    from omnitrace.evaluation.labels.schema import Source
    from omnitrace.reference.world import Sample, Statement
    from omnitrace.report.truth import SpanTruth
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = ["Verdict", "check_statement", "draw_samples", "print_counts", "show_sample"]

_ORDERS: Final[tuple[tuple[Modality, ...], ...]] = (
    ("text", "image", "audio", "video"),
    ("video", "text", "image", "audio"),
    ("audio", "video", "text", "image"),
)
_QUESTIONS: Final = 5
_DRAWS: Final = 10_000  # seeds of one demo; about one in 40 asks about everything


@dataclass(frozen=True, slots=True)
class Verdict:
    """A labelled statement, the span that answers it, and how the span did.

    ``true``: the span says the right value. ``named``: its strongest supports, as many as the
    statement rests on, show the evidence; where there is none, nothing supports the span.
    """

    statement: Statement
    span: Span | None
    true: bool
    named: bool


def draw_samples(seed: int) -> list[Sample]:
    """Draw three samples that the model never saw.

    Each asks about all four modalities, has a statement that rests on two sources, and one question
    whose answer is stated nowhere.
    """
    from omnitrace.reference.world import held_out_seed, make_sample

    numbers = itertools.count(seed * _DRAWS)
    samples: list[Sample] = []
    for order in _ORDERS:
        drawn = (
            make_sample(held_out_seed(number), questions=_QUESTIONS, order=order, long=False)
            for number in numbers
        )
        samples.append(next(filter(_asks_about_everything, drawn)))
    return samples


def _asks_about_everything(sample: Sample) -> bool:
    sources = [statement.sources for statement in sample.statements]
    parts = {source.part for each in sources for source in each}
    return len(parts) == len(sample.scenes) and {len(each) for each in sources} == {0, 1, 2}


def show_sample(
    tracer: Tracer, sample: Sample, out: Path, console: Console, status: StatusLine
) -> tuple[Page, list[Verdict]]:
    """Write and trace one sample, and print each span beside its truth."""
    from omnitrace.reference.files import write_sample

    status.show(f"{sample.id}: writing the media files")
    path = write_sample(sample, make_folder(out / sample.id))
    with status.paused():
        _print_head(console, sample, path)
    request = read_requests(path)[0]
    assert isinstance(request, RequestEntry)
    status.show(f"{sample.id}: tracing")
    names = names_of_request(request.messages)
    open_statements = list(sample.statements)
    verdicts: dict[str, Verdict] = {}
    truths: list[SpanTruth | None] = []
    trace = tracer.trace(request.messages, media_root=request.media_root)
    with status.paused():
        for span in trace.spans:
            print_span(console, span, names)
            statement = _statement_of(span, open_statements)
            truths.append(None if statement is None else _span_truth(statement, span, trace))
            if statement is None:
                console.print("      nobody asked for this", style="yellow")
                continue
            open_statements.remove(statement)
            verdict = check_statement(statement, span, trace.units)
            verdicts[statement.question] = verdict
            _print_truth(console, verdict, sample)
    notes = []
    for statement in open_statements:
        verdict = Verdict(statement, None, true=False, named=False)
        verdicts[statement.question] = verdict
        line = Text(f"no answer to: {plain(statement.question)}", style="red")
        console.print(line, soft_wrap=True)
        _print_truth(console, verdict, sample)
        notes.append(_truth(verdict, sample))
    found = [verdicts[statement.question] for statement in sample.statements]
    return Page(f"Generated media: {', '.join(sample.order)}", trace, truths, notes), found


def _span_truth(statement: Statement, span: Span, trace: Trace) -> SpanTruth:
    """Return what is true of a span that makes a labelled statement, be its value right or not."""
    from omnitrace.evaluation.labels.visibility import shown_units
    from omnitrace.report.truth import SpanTruth

    said = plain(span.text) == statement.text
    return SpanTruth(
        tuple(shown_units(source, trace.units) for source in statement.sources),
        said=said,
        note="" if said else f"It should be: {statement.text}",
    )


def _statement_of(span: Span, statements: Sequence[Statement]) -> Statement | None:
    """Find the statement that a span makes, be its value right or wrong."""
    said = _claim(plain(span.text))
    return next((each for each in statements if said and said == _claim(each.text)), None)


def _claim(sentence: str) -> str:
    """Return a sentence without the values that it says: what it is about."""
    return _values().sub(r"\1", sentence)


@functools.cache
def _values() -> re.Pattern[str]:
    from omnitrace.reference.questions import LEADS

    return re.compile(rf"\b({'|'.join(LEADS)}) (?:a )?\w+")


def check_statement(statement: Statement, span: Span, units: Sequence[SourceUnit]) -> Verdict:
    """Compare a span with the label of what it says; ``units`` are those of the request."""
    from omnitrace.evaluation.labels.visibility import shown_units

    first = {support.unit.id for support in span.supports[: len(statement.sources)]}
    if statement.sources:
        named = all(first & shown_units(source, units) for source in statement.sources)
    else:
        named = not span.supports
    return Verdict(statement, span, true=plain(span.text) == statement.text, named=named)


def _place(source: Source, sample: Sample) -> str:
    """Say where the evidence is, in the words of supports."""
    from omnitrace.evaluation.labels.schema import ImageSource, TimeSource

    message, part = source.message, source.part
    modality: str = sample.order[part]
    locator: Locator
    if isinstance(source, TimeSource):
        modality = source.stream or modality
        locator = TimeRange(message, part, source.start, source.end)
    elif isinstance(source, ImageSource):
        assert source.box is not None  # the world labels items, and facts by their characters
        locator = ImageRegion(message, part, source.box, (1, 1), (0,))
    else:
        assert source.start is not None
        assert source.end is not None
        locator = TextRange(message, part, source.start, source.end)
    return describe(locator, modality)


def _print_head(console: Console, sample: Sample, path: Path) -> None:
    console.print(Text(f"\n{sample.id}: {', '.join(sample.order)}", style="bold underline"))
    console.print(Text(f"{path}\n{plain(sample.question)}", style="dim"), soft_wrap=True)


def _truth(verdict: Verdict, sample: Sample) -> str:
    """Say what is true, where it is seen, and how the span did, in one line."""
    statement = verdict.statement
    places = [_place(source, sample) for source in statement.sources]
    where = " and ".join(places) or "stated nowhere"
    if verdict.span is None:
        return f"truth: {statement.text} ({where}): not answered"
    if places:
        how = f"{'names' if verdict.named else 'misses'} the evidence"
    else:
        how = "names no source" if verdict.named else "names a source all the same"
    return f"truth: {statement.text} ({where}): {'true' if verdict.true else 'false'}, {how}"


def _print_truth(console: Console, verdict: Verdict, sample: Sample) -> None:
    style = "green" if verdict.true and verdict.named else "red"
    console.print(Text(f"      {_truth(verdict, sample)}", style=style), soft_wrap=True)


def print_counts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print how many statements are true, and how many name the evidence."""
    count = len(verdicts)
    named = sum(verdict.named for verdict in verdicts)
    true = sum(verdict.true for verdict in verdicts)
    console.print(
        Text(
            f"\n{named} of {count} statements name the evidence, or nothing where there is none; "
            f"{true} of {count} statements are true.",
            style="bold",
        ),
        soft_wrap=True,
    )
