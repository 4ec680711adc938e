"""The commands that judge traces by labels. Whatever is heavy is imported inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.guard import guarded
from omnitrace.cli.options import Device

__all__ = ["evaluation"]

_Traces = Annotated[
    list[Path],
    typer.Argument(metavar="TRACES...", help="Trace files, or folders of them, as --out wrote."),
]

evaluation = typer.Typer()


@evaluation.command("evaluate")
@guarded
def evaluate_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|REQUESTS...",
            help="Traces, as --out wrote, and folders of them; or request files (.json, .jsonl), "
            "whose labelled answers are then attributed: name --model.",
        ),
    ],
    labels: Annotated[Path, typer.Option(help="The label file (docs/reference/label-format.md).")],
    signals: Annotated[
        str | None,
        typer.Option(
            help="Attribute the answers anew with each of these, separated by commas, and compare "
            "them: name --model. Media must be in the traces (trace --media)."
        ),
    ] = None,
    second_labels: Annotated[
        Path | None,
        typer.Option(help="Labels by a second person: the ceiling, as the method 'human'."),
    ] = None,
    ask_model: Annotated[
        str | None,
        typer.Option(
            help="The model that wrote the answers: ask it for the sources of its sentences, as "
            "the method 'self'. Media must be in the traces (trace --media)."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that wrote the answers: also measure effects with it, for 'lds' and "
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
        typer.Option(help="How effects take units away; see 'omnitrace list operators'."),
    ] = "attention",
    cache: Annotated[
        Path | None,
        typer.Option(help="A folder to keep measured effects in, for another run to find."),
    ] = None,
    media_root: Annotated[
        Path | None,
        typer.Option(help="Where relative media paths of requests start; by default their file."),
    ] = None,
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
    """Judge attributions by labels of their evidence; saved traces need no model for that.

    A trace belongs to the label whose id its file is named after. Baselines that never look at the
    signal are judged beside it, with intervals over examples and paired differences. With several
    --signals there is a table for each, and the paired differences to the first of them; the files
    then get the signal's name before their ending, for 'omnitrace compare'.
    """
    from omnitrace.cli.evaluating import Outputs, evaluate_files

    raise typer.Exit(
        evaluate_files(
            paths,
            labels,
            signals=None if signals is None else _listed(signals),
            media_root=media_root,
            second_labels=second_labels,
            ask_model=ask_model,
            model=model,
            device=device,
            embedder=embedder,
            cache=cache,
            operator=operator,
            metrics=None if metrics is None else _listed(metrics),
            outputs=Outputs(json_out, csv_out, html),
            skip_invalid=skip_invalid,
            baselines=not no_baselines,
            seed=seed,
        )
    )


@evaluation.command()
@guarded
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A.json", help="What 'evaluate --json' wrote: before.")
    ],
    second: Annotated[
        Path, typer.Argument(metavar="B.json", help="The same labels and requests: after.")
    ],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="METRIC[.low|.high][@GROUP] OP NUMBER: exit with 1 if it holds for the difference "
            "B - A, or for that end of its interval. Repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
) -> None:
    """Compare two evaluations of the same labels: paired differences B - A with intervals.

    GROUP is a name of the first column; without one, all spans. "f1 < -0.02" fails if F1 fell by
    more than 0.02; "f1.high < 0" fails only if the whole interval is below 0:

        omnitrace compare main.json branch.json --fail-if "f1.high@modality: image < 0"
    """
    from omnitrace.cli.comparing import compare_files

    raise typer.Exit(compare_files(first, second, fail_if or (), seed=seed))


@evaluation.command()
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
        str, typer.Option(help="Separated by commas; see 'omnitrace list signals'.")
    ] = "attention-mean",
    checks: Annotated[
        str, typer.Option(help="Only these, separated by commas.")
    ] = "randomisation,evidence,operators,regeneration",
    out: Annotated[Path | None, typer.Option(help="Write everything to this JSON file.")] = None,
    media_root: Annotated[
        Path | None,
        typer.Option(help="Where relative media paths of requests start; by default their file."),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer to a request, in tokens.")
    ] = 256,
    threshold: Annotated[
        float,
        typer.Option(min=-1, max=1, help="Randomisation is passed below this rank correlation."),
    ] = 0.5,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Regeneration takes away only so many units of largest effect, those that signals "
            "name first, and 8 random ones; by default all.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")] = 0,
) -> None:
    """Check whether attributions deserve belief at all: four questions, answered with a model.

    randomisation: do scores change as the decoder layers are randomised, from the last one down?
    evidence: does it cost the answer less if the scores are handed to other units? operators: do
    ways to take a unit away agree on which units matter? regeneration: does the model write
    something else without a unit, where teacher forcing says so?
    """
    from omnitrace.cli.sanity import check_files

    raise typer.Exit(
        check_files(
            paths,
            model=model,
            device=device,
            signals=_listed(signals),
            checks=_listed(checks),
            out=out,
            media_root=media_root,
            max_new_tokens=max_new_tokens,
            threshold=threshold,
            top=top,
            seed=seed,
        )
    )


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


label = typer.Typer(no_args_is_help=True, help="Make and check label files.")
evaluation.add_typer(label, name="label")


@label.command()
@guarded
def init(
    traces: _Traces,
    out: Annotated[Path, typer.Option(help="The label file to write; it must not exist.")],
) -> None:
    """Write a label file to fill in: the spans of traces, each still without its evidence."""
    from omnitrace.cli.evaluating import make_template

    make_template(traces, out)


@label.command()
@guarded
def check(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="A label file.")],
    traces: _Traces,
) -> None:
    """Check a label file against the requests of traces, and report every mistake in a line."""
    from omnitrace.cli.evaluating import check_labels

    raise typer.Exit(check_labels(labels, traces))


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
    from omnitrace.cli.evaluating import import_labels

    raise typer.Exit(import_labels(paper, out, image_base=image_base, skip_invalid=skip_invalid))


@label.command()
@guarded
def judge(
    traces: _Traces,
    out: Annotated[
        Path, typer.Option(help="The label file; labels that it holds already are kept.")
    ],
    model: Annotated[str, typer.Option(help="Name of the judging model at the endpoint.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a reply.")] = 120.0,
) -> None:
    """Let a model label traces: an OpenAI-compatible endpoint that you name.

    Off unless OMNITRACE_JUDGE_URL (such as https://host/v1) is set; OMNITRACE_JUDGE_KEY is sent as
    its key. The texts and media of the traces go there. A reply that cannot be used is asked for
    once more; traces that fail are listed, and tried again by the next run.
    """
    from omnitrace.cli.judging import judge_files

    raise typer.Exit(judge_files(traces, out, model, timeout=timeout))
