"""``omnitrace select-heads``: which attention heads of a model look at the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnitrace._utils.files import check_output, write_text
from omnitrace.cli.console import StatusLine, make_console, print_notes, print_table
from omnitrace.cli.exit_codes import MISTAKE, guarded, say
from omnitrace.cli.loading import load_tracer
from omnitrace.cli.options import Device, MediaRoot
from omnitrace.cli.statements import Documents, Failures, PerRequest, Seed, sound_labels

if TYPE_CHECKING:
    from omnitrace.signals.heads import HeadSelection

__all__ = ["select_heads"]


@guarded
def select_heads(
    paths: Documents,
    out: Annotated[
        Path, typer.Option(help="The JSON file to write, for 'omnitrace trace --heads'.")
    ],
    model: Annotated[str, typer.Option(help="The model whose heads are chosen.")] = "reference",
    device: Device = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A label file: learn from labelled statements instead of sentences copied from "
            "the documents."
        ),
    ] = None,
    heads: Annotated[int, typer.Option(min=1, help="How many heads are chosen.")] = 16,
    per_request: PerRequest = 4,
    media_root: MediaRoot = None,
    seed: Seed = 0,
) -> None:
    """Choose the attention heads of a model that look at what statements rest on.

    Without labels, examples are made from your own requests: a sentence of a document is copied as
    the response, and the heads that look at it there are the ones to take.
    """
    from omnitrace.evaluation.example_set import read_examples
    from omnitrace.evaluation.head_choice import HeadOptions
    from omnitrace.evaluation.head_choice import select_heads as choose

    options = HeadOptions(heads, per_request, seed)
    check_output(out)
    scan = sound_labels(labels)
    examples = read_examples(paths, media_root)
    with StatusLine() as status:
        failures = Failures(status)
        found = choose(
            examples,
            load_tracer(model, "attention-mean", status, device=device),
            labels=scan,
            options=options,
            progress=status.show,
            failed=failures,
        )
    _print(found)
    say(f"wrote {write_text(out, found.model_dump_json(indent=1))}")
    raise typer.Exit(MISTAKE if failures.count else 0)


def _print(found: HeadSelection) -> None:
    console = make_console()
    rows = [
        (str(layer), str(head), f"{score:.2f}")
        for (layer, head), score in zip(found.heads, found.scores, strict=True)
    ]
    print_table(console, [("layer", "head", "on the evidence"), *rows])
    notes = [
        f"all heads: {found.all_heads:.2f}",
        f"{found.model}; {found.statements} {found.examples} statements of {found.requests} "
        f"requests; seed {found.seed}",
    ]
    print_notes(console, notes)
