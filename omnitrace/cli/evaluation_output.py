"""``omnitrace evaluate`` and ``omnitrace label``: judge attributions by labels, and make them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from omnitrace.cli.commands.trace import Progress, load_tracer, safe_name
from omnitrace.cli.console import make_console, plain, print_table
from omnitrace.cli.exit_codes import MISTAKE, say, say_mistake
from omnitrace.cli.input_files import Examples, find_traces, read_examples
from omnitrace.errors import InputError
from omnitrace.evaluation.baselines.self_citation import AskOf
from omnitrace.evaluation.baselines.similarity import Embedder
from omnitrace.evaluation.baselines.trivial import Embeddings
from omnitrace.evaluation.evaluate import Evaluation, evaluate
from omnitrace.evaluation.labels.io import (
    LabelError,
    LabelProblem,
    LabelScan,
    scan_labels,
    write_labels,
    write_text,
)
from omnitrace.evaluation.labels.paper_format import read_paper_labels
from omnitrace.evaluation.labels.prompt import Ask
from omnitrace.evaluation.labels.template import parts_of, template_line
from omnitrace.evaluation.labels.validate import check_label
from omnitrace.evaluation.measured_effects import measure_by
from omnitrace.evaluation.reattribute import Anew, label_id
from omnitrace.evaluation.report.compare import compare, table_of_differences
from omnitrace.evaluation.report.export import notes_of, table_of, to_csv, to_document
from omnitrace.evaluation.report.html import render_page
from omnitrace.evaluation.report.results_file import file_of
from omnitrace.plugins.registry import registry
from omnitrace.trace.trace import Trace

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["Outputs", "check_labels", "evaluate_files", "import_labels", "make_template"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are written for each evaluation, where they are named."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None

    def of(self, signal: str) -> Outputs:
        """Return the files of one of several signals: its name stands before their ending."""
        return Outputs(
            *(
                path and path.with_name(f"{path.stem}.{safe_name(signal)}{path.suffix}")
                for path in (self.json, self.csv, self.html)
            )
        )


def evaluate_files(
    paths: Sequence[Path],
    labels: Path,
    *,
    second_labels: Path | None = None,
    ask_model: str | None = None,
    model: str | None = None,
    device: str | None = None,
    embedder: str | None = None,
    cache: Path | None = None,
    operator: str = "attention",
    signals: Sequence[str] | None = None,
    media_root: Path | None = None,
    metrics: Sequence[str] | None = None,
    outputs: Outputs | None = None,
    skip_invalid: bool = False,
    baselines: bool = True,
    seed: int = 0,
) -> int:
    """Judge traces by labels, print the tables, write the files; return the exit code.

    With signals, or where there are requests, answers are attributed anew by the model: of a trace
    its own answer, of a request the labelled one.
    """
    examples = read_examples(paths, media_root)
    named = _named_signals(examples, signals, model)
    scan = scan_labels(labels)
    second = None if second_labels is None else scan_labels(second_labels)
    results: list[Evaluation] = []
    anew = Anew(examples, scan)
    try:
        with Progress() as progress:

            @functools.cache  # several options may name one model
            def tracer_of(name: str) -> Tracer:
                return load_tracer(name, "attention-mean", progress, device=device)

            judge = functools.partial(
                evaluate,
                second=second,
                ask=None if ask_model is None else _ask(tracer_of(ask_model)),
                measure=None
                if model is None
                else measure_by(
                    tracer_of(model),
                    operator=operator,
                    seed=seed,
                    cache=cache,
                    fitted=anew.fitted,
                ),
                embedder=None if embedder is None else _embedder(embedder, device, progress),
                told=functools.partial(_tell, progress),
                metrics=metrics,
                baselines=baselines,
                embeddings=_embeddings(tracer_of(model)) if model and baselines else None,
                skip_invalid=skip_invalid,
                seed=seed,
            )
            if named is None:
                results.append(judge(_load(examples.traces, scan, progress), scan))
            for signal in named or ():
                assert model is not None, "checked with the signals"
                results.append(judge(anew.traces(tracer_of(model), signal, progress), scan))
                progress.show("computing intervals")
    except LabelError as error:
        return _say_problems(error.problems)
    _say_problems(results[0].counts.invalid)
    several = len(results) > 1
    outputs = outputs or Outputs()
    for number, result in enumerate(results):
        if several:
            make_console().print(Text(plain(result.signals[0]), style="bold underline"))
        _report(result, outputs.of(result.signals[0]) if several else outputs, labels.name)
        if several and number and not anew.failed:
            _print_differences(results[0], result, seed)
    if anew.unlabelled:
        say(f"{len(anew.unlabelled)} requests have no label: {', '.join(anew.unlabelled)}")
    return MISTAKE if anew.failed else 0


def _named_signals(
    examples: Examples, signals: Sequence[str] | None, model: str | None
) -> Sequence[str] | None:
    """Return the signals to attribute with; None where traces are judged as they are."""
    if signals is None and not examples.requests:
        return None
    named = list(dict.fromkeys(["attention-mean"] if signals is None else signals))
    if not named:
        raise InputError("no signal is named", legal="at least one")
    for signal in named:
        registry().signal(signal)
    if model is None:
        raise InputError(
            "answers are to be attributed, and no model is named",
            legal="traces without --signals, or a model",
            fix="name the model that wrote the answers: --model NAME",
        )
    return named


def _report(result: Evaluation, outputs: Outputs, title: str) -> None:
    print_table(make_console(), table_of(result))
    for note in notes_of(result):
        make_console().print(Text(plain(note), style="dim"), soft_wrap=True)
    if outputs.json is not None:
        document = json.dumps(to_document(result), ensure_ascii=False, allow_nan=False, indent=1)
        say(f"wrote {write_text(outputs.json, document)}")
    if outputs.csv is not None:
        say(f"wrote {write_text(outputs.csv, to_csv(result))}")
    if outputs.html is not None:
        say(f"wrote {write_text(outputs.html, render_page(result, title=title))}")


def _print_differences(first: Evaluation, second: Evaluation, seed: int) -> None:
    names = [result.signals[0] for result in (first, second)]
    files = [file_of(result, name) for result, name in zip((first, second), names, strict=True)]
    title = f"A: {names[0]}, B: {names[1]}"
    make_console().print(Text(plain(title), style="bold underline"))
    print_table(make_console(), table_of_differences(compare(*files, seed=seed)))


def _ask(tracer: Tracer) -> AskOf:
    from omnitrace.evaluation.model_access import ask_by  # it waits for torch

    ask = ask_by(tracer)
    known: dict[tuple[object, str], str] = {}

    def of(trace: Trace) -> Ask:
        inner = ask(trace)

        def asked(text: str, /) -> str:  # once, for all signals
            key = (trace.prompt_ids, trace.token_ids), text
            if key not in known:
                known[key] = inner(text)
            return known[key]

        return asked

    return of


def _tell(progress: Progress, done: int, total: int) -> None:
    """Say how many forward passes the metrics take before the first one, then how far they are."""
    if not done:
        with progress.paused():
            say(f"measuring effects takes up to {total} forward passes")
    progress.show(f"measuring effects: {done} of {total} forward passes")


def _embedder(name: str, device: str | None, progress: Progress) -> Embedder:
    from omnitrace.evaluation.baselines.embedders import load_embedder  # it waits for torch
    from omnitrace.models.devices import usual_device

    progress.show(f"loading {name}")
    return load_embedder(name, device=usual_device() if device in (None, "auto") else device)


def _embeddings(tracer: Tracer) -> Embeddings:
    from omnitrace.evaluation.model_access import InputEmbeddings  # it waits for torch

    return InputEmbeddings(tracer.adapter.model)


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


def _load(
    files: Sequence[Path], scan: LabelScan, progress: Progress
) -> Iterator[tuple[str, Trace]]:
    """Load one trace after the other, by the id of the label that its file is named after."""
    for number, path in enumerate(files):
        progress.show(f"{path.stem} ({number + 1} of {len(files)})")
        yield label_id(path, scan), Trace.load(path)
    progress.show("computing intervals")


def _say_problems(problems: Sequence[LabelProblem]) -> int:
    for problem in problems:
        say_mistake(str(problem))
    return MISTAKE
