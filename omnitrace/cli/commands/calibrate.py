"""``omnitrace calibrate``: fit to a model which effects are too small to be a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omnitrace._utils.files import check_output
from omnitrace.cli.console import StatusLine, make_console, print_notes, print_table
from omnitrace.cli.exit_codes import MISTAKE, guarded, say
from omnitrace.cli.loading import load_tracer
from omnitrace.cli.options import Device, MediaRoot
from omnitrace.cli.statements import Documents, Failures, PerRequest, Seed, sound_labels

if TYPE_CHECKING:
    from omnitrace.evaluation.calibration.store import VerdictCalibration

__all__ = ["calibrate"]

_TOO_STRICT: Final = (
    "for responses that quote: statements in other words than their sources have smaller effects; "
    "label some with --labels"
)


@guarded
def calibrate(
    paths: Documents,
    out: Annotated[
        Path, typer.Option(help="The JSON file to write, for 'omnitrace trace --calibration'.")
    ],
    model: Annotated[str, typer.Option(help="The model that is calibrated.")] = "reference",
    device: Device = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A label file: learn from labelled statements, with sources and without, instead "
            "of sentences copied from the documents."
        ),
    ] = None,
    per_request: PerRequest = 4,
    media_root: MediaRoot = None,
    seed: Seed = 0,
) -> None:
    """Fit to a model the effect, in nats, below which a statement has no source.

    Without labels, examples are made from your own requests: a sentence of a document, copied as
    the response, has a source; with that document left out of the request it has none. That is for
    models that quote: where yours says things in its own words, bring labels.
    """
    from omnitrace.evaluation.calibration.run import CalibrationOptions, calibrate_verdicts
    from omnitrace.evaluation.example_set import read_examples

    options = CalibrationOptions(per_request, seed)
    check_output(out)
    scan = sound_labels(labels)
    examples = read_examples(paths, media_root)
    with StatusLine() as status:
        failures = Failures(status)
        found = calibrate_verdicts(
            examples,
            load_tracer(model, None, status, device=device),
            labels=scan,
            options=options,
            progress=status.show,
            failed=failures,
        )
    _print(found)
    say(f"wrote {found.save(out)}")
    raise typer.Exit(MISTAKE if failures.count else 0)


def _print(found: VerdictCalibration) -> None:
    console = make_console()
    left_out = "–" if found.left_out_f1 is None else f"{found.left_out_f1:.2f}"  # noqa: RUF001
    rows = [
        ("threshold", f"{found.threshold:.2f} nats"),
        ("with a source", f"{found.supported} {found.examples} statements"),
        ("without one", f"{found.no_source}"),
        ("F1 of 'no source'", f"{found.f1:.2f}"),
        ("fitted without the request", left_out),
    ]
    print_table(console, [("what", "value"), *rows])
    notes = [f"{found.model}; {found.requests} requests; seed {found.seed}"]
    if found.examples == "copied":
        notes.insert(0, _TOO_STRICT)
    print_notes(console, notes)
