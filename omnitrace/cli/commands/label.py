"""``omnitrace label``: make and check label files. Whatever is heavy is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.console import StatusLine, make_console, print_table
from omnitrace.cli.exit_codes import MISTAKE, guarded, say, say_problems
from omnitrace.cli.options import Traces

__all__ = ["label"]

label = typer.Typer(no_args_is_help=True, help="Make and check label files.")


@label.command()
@guarded
def init(
    traces: Traces,
    out: Annotated[Path, typer.Option(help="The label file to write; it must not exist.")],
) -> None:
    """Write a label file to fill in: the spans of traces, each still without its evidence."""
    from omnitrace.evaluation.example_set import find_traces
    from omnitrace.evaluation.labels.template import write_template

    found = write_template(find_traces(traces), out)
    say(f"wrote {out}: give each span its sources instead of null ([] where there is none)")
    lines = [(name, *line) for name, parts in found.items() for line in parts]
    print_table(make_console(), [("trace", "message", "part", "type", "what"), *lines])


@label.command()
@guarded
def check(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="A label file.")],
    traces: Traces,
) -> None:
    """Check a label file against the requests of traces, and report every mistake in a line."""
    from omnitrace.evaluation.example_set import find_traces, load_traces
    from omnitrace.evaluation.labels.io import scan_labels
    from omnitrace.evaluation.labels.validate import check_labels

    files = find_traces(traces)
    scan = scan_labels(labels)
    with StatusLine() as status:
        problems = check_labels(scan, load_traces(files, scan, progress=status.show))
    if problems:
        say_problems(problems)
        raise typer.Exit(MISTAKE)
    spans = sum(len(entry.label.spans) for entry in scan.entries)
    say(f"{len(scan.entries)} labels with {spans} spans are fine")


@label.command("import")
@guarded
def import_(
    paper: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labels in the OmniTrace paper's form.")
    ],
    out: Annotated[Path, typer.Option(help="The label file to write.")],
    image_base: Annotated[
        int, typer.Option(min=0, max=1, help="The number of the first image: 0 or 1.")
    ] = 0,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out what cannot be mapped.")
    ] = False,
) -> None:
    """Turn labels in the OmniTrace paper's form into a label file."""
    from omnitrace.evaluation.labels.io import LabelError, write_labels
    from omnitrace.evaluation.labels.paper_format import read_paper_labels

    try:
        labels = read_paper_labels(paper, image_base=image_base)
    except LabelError as error:
        say_problems(error.problems)
        if not skip_invalid:
            raise typer.Exit(MISTAKE) from None
        labels = read_paper_labels(paper, image_base=image_base, skip_invalid=True)
    say(f"wrote {len(labels)} labels to {write_labels(out, labels)}")
