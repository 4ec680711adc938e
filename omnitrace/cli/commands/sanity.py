"""``omnitrace sanity``: five questions to ask before any figure of an attribution is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from omnitrace._utils.files import check_output, write_text
from omnitrace.cli.console import (
    StatusLine,
    make_console,
    print_notes,
    print_table,
)
from omnitrace.cli.exit_codes import MISTAKE, guarded, say, say_mistake
from omnitrace.cli.loading import load_tracer
from omnitrace.cli.options import Device, MaxNewTokens, MediaRoot, listed
from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.evaluation.sanity.report import Sanity

__all__ = ["sanity"]

_SIGNALS: Final = "attention-mean"
_STABILITY_SIGNALS: Final = "default,value-attention,attention-mean,grad-sam"


@guarded
def sanity(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="REQUESTS|RUN...",
            help="Request files (.json, .jsonl) to answer, or traces (with their media) and "
            "folders of them.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="The model; for traces the one that wrote them.")
    ] = "reference",
    device: Device = None,
    signals: Annotated[
        str | None,
        typer.Option(
            help="Separated by commas; see 'omnitrace list signals'. 'default' stands for what is "
            f"used where no signal is named. By default {_SIGNALS}; with --stability "
            f"{_STABILITY_SIGNALS}.",
            show_default=False,
        ),
    ] = None,
    checks: Annotated[
        str | None,
        typer.Option(
            help="Only these, separated by commas: randomisation, evidence, operators, "
            "regeneration. By default all four; with --stability none of them.",
            show_default=False,
        ),
    ] = None,
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="Compare the supports of each statement between signals, and when the sources "
            "stand in another order, the question is worded otherwise, or sources are added.",
        ),
    ] = False,
    second_model: Annotated[
        str | None,
        typer.Option(
            help="With --stability: a model of another size or training, which is given the same "
            "responses.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write everything to this JSON file.")] = None,
    media_root: MediaRoot = None,
    max_new_tokens: MaxNewTokens = 256,
    threshold: Annotated[
        float,
        typer.Option(min=-1, max=1, help="Randomisation is passed below this rank correlation."),
    ] = 0.5,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Regeneration ablates only so many units of largest effect, those that signals "
            "name first, and 8 random ones; by default all.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")] = 0,
) -> None:
    """Check whether attributions deserve belief at all: five questions, answered with a model.

    randomisation: do scores change as the decoder layers are randomised, from the last one down?
    evidence: does it cost the response less if the scores are handed to other units? operators: do
    ways to ablate a unit agree on which units matter? regeneration: does the model write
    something else without a unit, where teacher forcing says so? --stability: does a statement
    keep its supports where nothing that matters is changed?
    """
    from omnitrace.evaluation.example_set import read_examples
    from omnitrace.evaluation.run import known_signals
    from omnitrace.evaluation.sanity import (
        CHECKS,
        DEFAULT,
        SanityOptions,
        StabilityOptions,
        check_examples,
    )

    if out is not None:
        check_output(out)
    if second_model is not None and not stability:
        raise InputError("--second-model is given", legal="--second-model with --stability")
    usual = () if stability else CHECKS
    options = SanityOptions(
        checks=usual if checks is None else listed(checks),
        threshold=threshold,
        top=top,
        max_new_tokens=max_new_tokens,
        seed=seed,
        stability=StabilityOptions() if stability else None,
    )
    if signals is None:
        signals = _STABILITY_SIGNALS if stability else _SIGNALS
    named = known_signals(listed(signals), besides=[DEFAULT])
    examples = read_examples(paths, media_root)
    with StatusLine() as status:

        def say_failure(name: str, reason: str) -> None:
            with status.paused():
                say_mistake(f"{name}: {reason}")

        found = check_examples(
            examples,
            load_tracer(model, "attention-mean", status, device=device),
            named,
            options=options,
            second=None
            if second_model is None
            else load_tracer(second_model, "attention-mean", status, device=device),
            progress=status.show,
            failed=say_failure,
        )
    _print(found)
    if out is not None:
        document = json.dumps(found.to_document(), ensure_ascii=False, allow_nan=False, indent=1)
        say(f"wrote {write_text(out, document)}")
    raise typer.Exit(MISTAKE if found.skipped else 0)


def _print(found: Sanity) -> None:
    from omnitrace.evaluation.sanity.tables import sections_of

    console = make_console()
    for title, rows, notes in sections_of(found):
        console.print(Text(title, style="bold underline"), soft_wrap=True)
        print_table(console, rows)
        print_notes(console, notes)
        console.print()
    print_notes(console, [f"{found.model}; {len(found.examples)} responses; seed {found.seed}"])
