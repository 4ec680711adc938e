"""``omnitrace label judge``: labels by a model behind an endpoint, kept as they come."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omnitrace.cli.commands.trace import Progress
from omnitrace.cli.exit_codes import MISTAKE, say, say_mistake
from omnitrace.cli.input_files import find_traces
from omnitrace.errors import InputError, TraceFileError
from omnitrace.evaluation.labels.io import read_labels, write_labels
from omnitrace.evaluation.labels.llm_judge import Endpoint, JudgeError, judge_trace
from omnitrace.evaluation.labels.schema import Label
from omnitrace.trace.trace import Trace

__all__ = ["KEY", "URL", "judge_files"]

URL: Final = "OMNITRACE_JUDGE_URL"
KEY: Final = "OMNITRACE_JUDGE_KEY"


def judge_files(paths: Sequence[Path], out: Path, model: str, *, timeout: float = 120.0) -> int:
    """Label traces that the file does not have yet, write it after each one; list what failed.

    Returns
    -------
    int
        0 if every trace has a label now, else 2.
    """
    url = os.environ.get(URL, "").strip()
    if not url:
        raise InputError(
            f"there is no judge: {URL} is not set",
            legal="the URL of an OpenAI-compatible service, such as https://host/v1",
            fix=f"set {URL} (and {KEY} if the service wants a key); traces are then sent there",
        )
    endpoint = Endpoint(url, model, os.environ.get(KEY, "").strip(), timeout)
    files = find_traces(paths)
    labels = {label.id: label for label in read_labels(out)} if out.exists() else {}
    before = len(labels)
    failed: list[str] = []
    with Progress() as progress:
        for number, path in enumerate(files, start=1):
            if path.stem in labels:
                continue
            progress.show(f"{path.stem} ({number} of {len(files)})")
            label = _judged(path, endpoint, failed, progress)
            if label is not None:
                labels[label.id] = label
                write_labels(out, labels.values())
    kept = f", {before} were there" if before else ""
    say(f"{len(labels) - before} labels written to {out}{kept}; {len(failed)} traces failed")
    if failed:
        say(f"not labelled: {', '.join(failed)}; run the same again to try only these")
    return MISTAKE if failed else 0


def _judged(path: Path, endpoint: Endpoint, failed: list[str], progress: Progress) -> Label | None:
    """Return the label of a trace; None where the judge fails for it, which is told."""
    try:
        trace = Trace.load(path)
        return judge_trace(path.stem, trace, endpoint)
    except (TraceFileError, JudgeError) as error:
        failed.append(path.stem)
        with progress.paused():
            say_mistake(f"{path.stem}: {error}")
        return None
