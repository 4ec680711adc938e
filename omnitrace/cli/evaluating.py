"""``omnitrace evaluate`` and ``omnitrace label``: judge saved traces by labels, and make them."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from omnitrace.cli.guard import MISTAKE, say, say_mistake
from omnitrace.cli.printing import make_console, plain, print_table
from omnitrace.cli.running import Progress, load_tracer, safe_name
from omnitrace.errors import InputError
from omnitrace.evaluation.causal import measure_by
from omnitrace.evaluation.evaluate import evaluate
from omnitrace.evaluation.importers import read_paper_labels
from omnitrace.evaluation.label_check import check_label
from omnitrace.evaluation.label_files import (
    LabelError,
    LabelProblem,
    LabelScan,
    scan_labels,
    write_labels,
    write_text,
)
from omnitrace.evaluation.page import render_page
from omnitrace.evaluation.report import notes_of, table_of, to_csv, to_document
from omnitrace.evaluation.self_attribution import AskOf
from omnitrace.evaluation.template import parts_of, template_line
from omnitrace.trace import Trace
from omnitrace.trace_io import DOCUMENT, SUFFIX

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["check_labels", "evaluate_files", "find_traces", "import_labels", "make_template"]


def evaluate_files(
    paths: Sequence[Path],
    labels: Path,
    *,
    second_labels: Path | None = None,
    ask_model: str | None = None,
    model: str | None = None,
    metrics: Sequence[str] | None = None,
    json_out: Path | None = None,
    csv_out: Path | None = None,
    html: Path | None = None,
    skip_invalid: bool = False,
    baselines: bool = True,
    seed: int = 0,
) -> int:
    """Judge traces by labels, print the table, write the files; return the exit code."""
    files = find_traces(paths)
    scan = scan_labels(labels)
    second = None if second_labels is None else scan_labels(second_labels)
    try:
        with Progress() as progress:

            @functools.cache  # both options may name one model
            def tracer_of(name: str) -> Tracer:
                return load_tracer(name, "attention-mean", progress)

            result = evaluate(
                _load(files, scan, progress),
                scan,
                second=second,
                ask=None if ask_model is None else _ask(tracer_of(ask_model)),
                measure=None if model is None else measure_by(tracer_of(model), seed=seed),
                metrics=metrics,
                baselines=baselines,
                skip_invalid=skip_invalid,
                seed=seed,
            )
    except LabelError as error:
        return _say_problems(error.problems)
    _say_problems(result.counts.invalid)
    print_table(make_console(), table_of(result))
    for note in notes_of(result):
        make_console().print(Text(plain(note), style="dim"), soft_wrap=True)
    if json_out is not None:
        document = json.dumps(to_document(result), ensure_ascii=False, allow_nan=False, indent=1)
        say(f"wrote {write_text(json_out, document)}")
    if csv_out is not None:
        say(f"wrote {write_text(csv_out, to_csv(result))}")
    if html is not None:
        say(f"wrote {write_text(html, render_page(result, title=labels.name))}")
    return 0


def _ask(tracer: Tracer) -> AskOf:
    from omnitrace.evaluation.own_model import ask_by  # it waits for torch

    return ask_by(tracer)


def make_template(paths: Sequence[Path], out: Path) -> None:
    """Write a label file to fill in, and print the parts that its sources can name."""
    if out.exists():
        raise InputError(
            f"{str(out)!r} exists", fix="choose another name, so that no label is lost"
        )
    lines: list[str] = []
    parts: list[tuple[str, ...]] = [("trace", "message", "part", "type", "what")]
    for path in find_traces(paths):
        trace = Trace.load(path)
        lines.append(template_line(path.stem, trace))
        parts += [(path.stem, *row) for row in parts_of(trace)]
    write_text(out, "".join(f"{line}\n" for line in lines))
    say(f"wrote {out}: give each span its sources instead of null ([] where there is none)")
    print_table(make_console(), parts)


def import_labels(path: Path, out: Path, *, image_base: int, skip_invalid: bool) -> int:
    """Turn labels in the paper's form into a label file; return the exit code."""
    try:
        labels = read_paper_labels(path, image_base=image_base)
    except LabelError as error:
        _say_problems(error.problems)
        if not skip_invalid:
            return MISTAKE
        labels = read_paper_labels(path, image_base=image_base, skip_invalid=True)
    say(f"wrote {len(labels)} labels to {write_labels(out, labels)}")
    return 0


def check_labels(labels: Path, paths: Sequence[Path]) -> int:
    """Report every mistake of a label file against its traces; return the exit code."""
    files = find_traces(paths)
    scan = scan_labels(labels)
    problems = list(scan.problems)
    entries = {entry.label.id: entry for entry in scan.entries}
    with Progress() as progress:
        for name, trace in _load(files, scan, progress):
            entry = entries.pop(name, None)
            if entry is not None:
                mistakes = check_label(entry.label, trace)
                problems += [LabelProblem(scan.file, entry.line, *each) for each in mistakes]
    for entry in entries.values():
        message = f"there is no trace of {entry.label.id!r} to check it against"
        problems.append(LabelProblem(scan.file, entry.line, "id", message))
    if problems:
        return _say_problems(sorted(problems, key=lambda problem: problem.line))
    spans = sum(len(entry.label.spans) for entry in scan.entries)
    say(f"{len(scan.entries)} labels with {spans} spans are fine")
    return 0


def find_traces(paths: Sequence[Path]) -> list[Path]:
    """Return the traces that files and folders hold, sorted within a folder.

    Raises
    ------
    InputError
        If a path is missing or holds no trace, or two traces have the same name.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir() and not (path / DOCUMENT).is_file():
            inside = [each for each in sorted(path.iterdir()) if _is_trace(each)]
            if not inside:
                raise InputError(f"the folder {str(path)!r} holds no trace", legal=_LEGAL)
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"there is no {str(path)!r}", legal=_LEGAL)
    for name, count in Counter(path.stem for path in found).items():
        if count > 1:
            raise InputError(
                f"{count} traces are named {name!r}", legal="one trace for each request"
            )
    return found


_LEGAL = f"files that end in {SUFFIX}, trace folders, or a folder of these"


def _is_trace(path: Path) -> bool:
    return path.suffix == SUFFIX if path.is_file() else (path / DOCUMENT).is_file()


def _load(
    files: Sequence[Path], scan: LabelScan, progress: Progress
) -> Iterator[tuple[str, Trace]]:
    """Load one trace after the other, by the id of the label that its file is named after."""
    ids = [entry.label.id for entry in scan.entries]
    clear = Counter(map(safe_name, ids))
    names = {safe_name(name): name for name in ids if clear[safe_name(name)] == 1}
    for number, path in enumerate(files):
        progress.show(f"{path.stem} ({number + 1} of {len(files)})")
        yield path.stem if path.stem in ids else names.get(path.stem, path.stem), Trace.load(path)
    progress.show("computing intervals")


def _say_problems(problems: Sequence[LabelProblem]) -> int:
    for problem in problems:
        say_mistake(str(problem))
    return MISTAKE
