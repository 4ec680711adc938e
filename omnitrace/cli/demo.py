"""``omnitrace demo``: the main job on real media files whose evidence is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from omnitrace.cli.guard import say
from omnitrace.cli.printing import describe, make_console, names_of_request, plain, print_span
from omnitrace.cli.running import Progress, load_tracer, make_folder
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import (
    CATEGORIES,
    BoxEvidence,
    Evidence,
    Sample,
    Statement,
    TextEvidence,
    held_out_seed,
    make_sample,
)
from omnitrace.requests import Request, read_requests
from omnitrace.types import (
    EndEvent,
    ImageRegion,
    Locator,
    Modality,
    Span,
    SpanEvent,
    TextRange,
    TimeRange,
)

if TYPE_CHECKING:
    from omnitrace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = ["Verdict", "draw_samples", "judge", "names_evidence", "run_demo"]

_ORDERS: Final[tuple[tuple[Modality, ...], ...]] = (
    ("text", "image", "audio", "video"),
    ("video", "text", "image", "audio"),
    ("audio", "video", "text", "image"),
)
_DRAWS: Final = 10_000  # seeds of one demo; about one in 26 asks about everything


@dataclass(frozen=True, slots=True)
class Verdict:
    """A labelled statement, the span that answers it, and how the span did.

    ``true``: the span says the right value. ``named``: its strongest support is the evidence.
    """

    statement: Statement
    span: Span | None
    true: bool
    named: bool


def run_demo(out: Path, seed: int) -> list[Verdict]:
    """Write three samples, trace them, print what supports each statement beside the truth."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    make_folder(out)
    console = make_console()
    traces: list[Trace] = []
    verdicts: list[Verdict] = []
    notes: list[list[str]] = []
    with Progress() as progress:
        tracer = load_tracer("reference", "attention-mean", progress)
        for sample in draw_samples(seed):
            progress.show(f"{sample.id}: writing the media files")
            path = write_sample(sample, make_folder(out / sample.id))
            with progress.paused():
                _print_head(console, sample, path)
            request = read_requests(path)[0]
            assert isinstance(request, Request)
            trace, found = _trace(tracer, sample, request, console, progress)
            trace.save(out / f"{sample.id}.omnitrace")
            traces.append(trace)
            verdicts += found
            notes.append([_truth(verdict, sample) for verdict in found])
    _print_counts(console, verdicts)
    from omnitrace.viewer.report import write_report

    report = out / "report.html"
    titles = [f"Generated sample {i + 1} of {len(traces)}" for i in range(len(traces))]
    write_report(traces, report, titles=titles, notes=notes)
    say(f"wrote {len(traces)} traces and {report}")
    return verdicts


def draw_samples(seed: int) -> list[Sample]:
    """Draw three samples that the model never saw, each with one question of every category."""
    samples: list[Sample] = []
    for number in range(seed * _DRAWS, (seed + 1) * _DRAWS):
        order = _ORDERS[len(samples)]
        sample = make_sample(held_out_seed(number), questions=len(CATEGORIES), order=order)
        if {statement.category for statement in sample.statements} == set(CATEGORIES):
            samples.append(sample)
        if len(samples) == len(_ORDERS):
            break
    return samples


def _trace(
    tracer: Tracer, sample: Sample, request: Request, console: Console, progress: Progress
) -> tuple[Trace, list[Verdict]]:
    """Trace one sample, printing each span beside its truth as soon as it ends."""
    names = names_of_request(request.messages)
    open_statements = list(sample.statements)
    verdicts: dict[str, Verdict] = {}
    trace: Trace | None = None
    progress.show(f"{sample.id}: reading")
    with tracer.stream(request.messages, media_root=request.media_root) as events:
        for event in events:
            if isinstance(event, EndEvent):
                trace = event.trace
            elif isinstance(event, SpanEvent):
                statement = _statement_of(event.span, open_statements)
                with progress.paused():
                    print_span(console, event.span, names)
                    if statement is None:
                        console.print("      nobody asked for this", style="yellow")
                        continue
                    open_statements.remove(statement)
                    verdict = judge(statement, event.span)
                    verdicts[statement.question] = verdict
                    _print_truth(console, verdict, sample)
    assert trace is not None  # the last event of every stream
    for statement in open_statements:
        verdict = Verdict(statement, None, true=False, named=False)
        verdicts[statement.question] = verdict
        line = Text(f"no answer to: {plain(statement.question)}", style="red")
        console.print(line, soft_wrap=True)
        _print_truth(console, verdict, sample)
    return trace, [verdicts[statement.question] for statement in sample.statements]


def _statement_of(span: Span, statements: Sequence[Statement]) -> Statement | None:
    """Find the statement that a span makes, be its value right or wrong."""
    said = plain(span.text)
    for statement in statements:
        cut = statement.value_start - statement.start
        if said.startswith(statement.text[:cut].strip()):
            return statement
    return None


def judge(statement: Statement, span: Span) -> Verdict:
    """Compare a span with the label of what it says."""
    named = bool(span.supports) and any(
        names_evidence(span.supports[0].unit.locator, evidence) for evidence in statement.evidence
    )
    return Verdict(statement, span, true=plain(span.text) == statement.text, named=named)


def names_evidence(locator: Locator, evidence: Evidence) -> bool:
    """Whether more than half of the smaller of the two, unit and evidence, lies in the other.

    Half of the smaller, since a cell of an image is larger than the shape that it shows.
    """
    if (locator.message, locator.part) != (evidence.message, evidence.part):
        return False
    unit, true = _intervals(locator), _intervals(_as_locator(evidence))
    if len(unit) != len(true):
        return False
    common, unit_size, true_size = 1.0, 1.0, 1.0
    for (a, b), (c, d) in zip(unit, true, strict=True):
        common *= max(0.0, min(b, d) - max(a, c))
        unit_size *= b - a
        true_size *= d - c
    return common > 0.5 * min(unit_size, true_size)


def _intervals(locator: Locator) -> list[tuple[float, float]]:
    """Return the extent of a locator along each of its axes."""
    if isinstance(locator, ImageRegion):
        x0, y0, x1, y1 = locator.box
        return [(x0, x1), (y0, y1)]
    return [(locator.start, locator.end)]


def _as_locator(evidence: Evidence) -> Locator:
    if isinstance(evidence, TextEvidence):
        return TextRange(evidence.message, evidence.part, evidence.start, evidence.end)
    if isinstance(evidence, BoxEvidence):
        return ImageRegion(evidence.message, evidence.part, evidence.box, (1, 1), (0,))
    return TimeRange(evidence.message, evidence.part, evidence.start_seconds, evidence.end_seconds)


def _print_head(console: Console, sample: Sample, path: Path) -> None:
    console.print(Text(f"\n{sample.id}: {', '.join(sample.order)}", style="bold underline"))
    console.print(Text(f"{path}\n{plain(sample.question)}", style="dim"), soft_wrap=True)


def _truth(verdict: Verdict, sample: Sample) -> str:
    """Say what is true, where it is seen, and how the span did, in one line."""
    statement = verdict.statement
    places = [
        describe(_as_locator(evidence), sample.order[evidence.part])
        for evidence in statement.evidence
    ]
    return (
        f"truth: {statement.text} ({' and '.join(places)}): {'true' if verdict.true else 'false'}, "
        f"{'names' if verdict.named else 'misses'} the evidence"
    )


def _print_truth(console: Console, verdict: Verdict, sample: Sample) -> None:
    style = "green" if verdict.true and verdict.named else "red"
    console.print(Text(f"      {_truth(verdict, sample)}", style=style), soft_wrap=True)


def _print_counts(console: Console, verdicts: Sequence[Verdict]) -> None:
    count = len(verdicts)
    named = sum(verdict.named for verdict in verdicts)
    true = sum(verdict.true for verdict in verdicts)
    console.print(
        Text(
            f"\n{named} of {count} statements name the evidence; "
            f"{true} of {count} statements are true.",
            style="bold",
        )
    )
