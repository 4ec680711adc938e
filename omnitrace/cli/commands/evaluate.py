"""``omnitrace evaluate``: traces, and responses that are attributed again, against labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace._utils.files import check_output
from omnitrace.cli.console import StatusLine
from omnitrace.cli.exit_codes import MISTAKE, guarded, say, say_mistake, say_problems
from omnitrace.cli.loading import load_tracer
from omnitrace.cli.options import Device, MediaRoot, listed

__all__ = ["evaluate"]


@guarded
def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|REQUESTS...",
            help="Traces, as --out wrote, and folders of them; or request files (.json, .jsonl), "
            "whose labelled responses are then attributed: name --model.",
        ),
    ],
    labels: Annotated[Path, typer.Option(help="The label file (docs/reference/label-format.md).")],
    signals: Annotated[
        str | None,
        typer.Option(
            help="Attribute the responses again with each of these, separated by commas, and "
            "compare them: name --model. Media must be in the traces (trace --media)."
        ),
    ] = None,
    second_labels: Annotated[
        Path | None,
        typer.Option(help="Labels by a second annotator: the ceiling, as the method 'human'."),
    ] = None,
    ask_model: Annotated[
        str | None,
        typer.Option(
            help="The model that wrote the responses: ask it for the sources of its sentences, as "
            "the method 'self'. Media must be in the traces (trace --media)."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that wrote the responses: also measure effects with it, for 'lds' and "
            "'top-1-drop' and, if named, the costlier metrics of effects; and the baseline "
            "'embedding'. Media must be in the traces (trace --media)."
        ),
    ] = None,
    device: Device = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|HUB ID",
            help="A sentence encoder, or a model such as CLIP that also sees: the baseline "
            "'embedder', by similarity. To look at media it needs them in the traces (trace "
            "--media).",
        ),
    ] = None,
    operator: Annotated[
        str,
        typer.Option(
            help="How units are ablated to measure effects; see 'omnitrace list operators'."
        ),
    ] = "attention",
    cache: Annotated[
        Path | None,
        typer.Option(help="A folder to keep measured effects in, for another run to find."),
    ] = None,
    media_root: MediaRoot = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Only these, separated by commas; see 'omnitrace list metrics'."),
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this JSON file.")
    ] = None,
    csv_out: Annotated[
        Path | None, typer.Option("--csv", help="Write a row a span, word and method to this file.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the table and plots as one self-contained page to this file."),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave labels with mistakes out, and go on.")
    ] = False,
    no_baselines: Annotated[
        bool, typer.Option("--no-baselines", help="Only the traces, nothing to compare with.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of intervals and random choices.")] = 0,
) -> None:
    """Evaluate attributions by labels of their evidence; saved traces need no model for that.

    A trace belongs to the label whose id its file is named after. Baselines that never look at the
    signal are evaluated beside it, with intervals over examples and paired differences. With
    several --signals there is a table for each, and the paired differences to the first of them;
    the files then get the signal's name before their ending, for 'omnitrace compare'.
    """
    from omnitrace.cli.evaluation_output import Outputs, print_run
    from omnitrace.evaluation.labels.io import LabelError
    from omnitrace.evaluation.options import EvaluationModels, EvaluationOptions
    from omnitrace.evaluation.run import RunCallbacks, evaluate_files

    options = EvaluationOptions(
        metrics=None if metrics is None else listed(metrics),
        baselines=not no_baselines,
        skip_invalid=skip_invalid,
        seed=seed,
    )
    for output in filter(None, (json_out, csv_out, html)):
        check_output(output)
    with StatusLine() as status:
        models = EvaluationModels(
            traced=model,
            asked=ask_model,
            embedder=embedder,
            device=device,
            operator=operator,
            cache=cache,
            load=lambda name, device: load_tracer(name, "attention-mean", status, device=device),
        )

        def show_passes(done: int, total: int) -> None:
            if not done:
                with status.paused():
                    say(f"measuring effects takes up to {total} forward passes")
            status.show(f"measuring effects: {done} of {total} forward passes")

        def say_failure(failure: object) -> None:
            with status.paused():
                say_mistake(str(failure))

        try:
            found = evaluate_files(
                paths,
                labels,
                signals=None if signals is None else listed(signals),
                second_labels=second_labels,
                media_root=media_root,
                models=models,
                options=options,
                callbacks=RunCallbacks(status.show, show_passes, say_failure),
            )
        except LabelError as error:
            with status.paused():
                say_problems(error.problems)
            raise typer.Exit(MISTAKE) from None
    print_run(found, Outputs(json_out, csv_out, html), title=labels.name, seed=seed)
    raise typer.Exit(MISTAKE if found.failures else 0)
