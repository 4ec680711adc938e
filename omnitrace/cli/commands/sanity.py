"""``omnitrace sanity``: four questions to ask before any figure of an attribution is believed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from omnitrace.cli.commands.trace import Progress, load_tracer
from omnitrace.cli.console import make_console, plain, print_table
from omnitrace.cli.exit_codes import MISTAKE, say, say_mistake
from omnitrace.cli.input_files import Examples, read_examples
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.evaluation.labels.io import write_text
from omnitrace.evaluation.model_access import answer
from omnitrace.evaluation.sanity import Case, Sanity, case_of, case_of_trace, check_all, tracers_of
from omnitrace.evaluation.sanity.report import checked_names
from omnitrace.evaluation.sanity.tables import sections_of
from omnitrace.plugins.registry import registry
from omnitrace.sources.request_files import Request, RequestProblem
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer

__all__ = ["check_files"]


def check_files(
    paths: Sequence[Path],
    *,
    model: str,
    signals: Sequence[str],
    checks: Sequence[str],
    device: str | None = None,
    out: Path | None = None,
    media_root: Path | None = None,
    max_new_tokens: int = 256,
    threshold: float = 0.5,
    top: int | None = None,
    seed: int = 0,
) -> int:
    """Run sanity checks on requests or traces, print the tables, write the file.

    Returns
    -------
    int
        2 if some of the examples could not be judged, else 0.
    """
    asked = checked_names(checks)
    if not asked:
        raise InputError("no check is named", legal="at least one")
    if not signals:
        raise InputError("no signal is named", legal="at least one")
    for signal in signals:
        registry().signal(signal)
    examples = read_examples(paths, media_root)
    with Progress() as progress:
        tracer = load_tracer(model, "attention-mean", progress, device=device)
        tracers = tracers_of(tracer, signals)
        cases, failed = _cases(examples, tracer, tracers, max_new_tokens, progress)
        found = check_all(
            tracers,
            cases,
            checks=asked,
            threshold=threshold,
            top=top,
            seed=seed,
            skipped=failed,
            tell=progress.show,
        )
    _print(found)
    if out is not None:
        document = json.dumps(found.to_document(), ensure_ascii=False, allow_nan=False, indent=1)
        say(f"wrote {write_text(out, document)}")
    return MISTAKE if failed else 0


def _cases(
    examples: Examples,
    tracer: Tracer,
    tracers: dict[str, Tracer],
    max_new_tokens: int,
    progress: Progress,
) -> tuple[list[Case], dict[str, str]]:
    """Answer and replay; what fails is told, and the others go on."""
    cases: list[Case] = []
    failed: dict[str, str] = {}
    for name, what in examples:
        progress.show(f"{name}: reading")
        try:
            if isinstance(what, RequestProblem):
                raise what.error
            if isinstance(what, Request):
                cases.append(_answered(what, tracer, tracers, max_new_tokens))
            else:
                cases.append(case_of_trace(tracers, name, Trace.load(what)))
        except OmnitraceError as error:
            failed[name] = str(error)
            with progress.paused():
                say_mistake(f"{name}: {error}")
    if not cases:
        raise InputError(f"none of {len(failed)} examples can be judged")
    return cases, failed


def _answered(
    request: Request, tracer: Tracer, tracers: dict[str, Tracer], max_new_tokens: int
) -> Case:
    messages, root = request.messages, request.media_root
    ids = answer(tracer, messages, media_root=root, max_new_tokens=max_new_tokens)
    if not ids:
        raise InputError("the model answered with nothing")
    return case_of(tracers, request.id, messages, ids, media_root=root)


def _print(found: Sanity) -> None:
    console = make_console()
    for title, rows, notes in sections_of(found):
        console.print(Text(title, style="bold underline"), soft_wrap=True)
        print_table(console, rows)
        for note in notes:
            console.print(Text(plain(note), style="dim"), soft_wrap=True)
        console.print()
    facts = f"{found.model}; {len(found.examples)} responses; seed {found.seed}"
    console.print(Text(plain(facts), style="dim"), soft_wrap=True)
