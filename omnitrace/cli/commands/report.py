"""``omnitrace report``: saved traces as one page, for looking and comparing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.exit_codes import guarded, say

__all__ = ["report"]


@guarded
def report(
    traces: Annotated[
        list[Path],
        typer.Argument(metavar="TRACE…", help="Files that --out wrote, or folders of them."),
    ],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Show two traces of the same request side by side: two signals, or two models.",
        ),
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(help="A label file: right, missed and spurious supports are told apart."),
    ] = None,
    media: Annotated[
        bool,
        typer.Option(
            "--media",
            help="Put the audio and video files into the page, so that they play there; of traces "
            "that were saved with --media.",
        ),
    ] = False,
) -> None:
    """Write traces as one HTML page that opens from disk and loads nothing."""
    from omnitrace.evaluation.example_set import find_traces, label_id
    from omnitrace.evaluation.labels.io import LabelError, scan_labels
    from omnitrace.evaluation.labels.truth import truths_of
    from omnitrace.report.html import write_report
    from omnitrace.trace.request_record import request_name
    from omnitrace.trace.trace import Trace

    if compare:
        # Two files of one name, in two folders, are what is compared most often.
        paths = [path for each in traces for path in find_traces([each])]
    else:
        paths = find_traces(traces)
    truths = None
    if labels is not None:
        scan = scan_labels(labels)
        if scan.problems:
            raise LabelError(scan.problems)
        known = {entry.label.id: entry.label for entry in scan.entries}
        ids = [label_id(path, scan) for path in paths]
        truths = [
            truths_of(known[name], Trace.load(path)) if name in known else None
            for name, path in zip(ids, paths, strict=True)
        ]
        missing = [
            request_name(path) for path, found in zip(paths, truths, strict=True) if found is None
        ]
        if missing:
            say(f"no label for {', '.join(missing)}")
    write_report(
        map(Trace.load, paths),
        out,
        titles=None if compare or len(paths) == 1 else [*map(request_name, paths)],
        truths=truths,
        media=media,
        compare=compare,
    )
    say(f"wrote {out}")
