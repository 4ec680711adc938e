"""``omnitrace estimator``: train and show estimators. Whatever is heavy is imported inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from omnitrace._utils.files import check_output
from omnitrace.cli.console import StatusLine, print_json
from omnitrace.cli.exit_codes import MISTAKE, guarded, say, say_mistake
from omnitrace.cli.loading import tracer_loader
from omnitrace.cli.options import (
    Actors,
    AudioUnits,
    Confine,
    Device,
    GpusPerActor,
    ImageUnits,
    MaxNewTokens,
    MediaRoot,
    On,
    VideoUnits,
    root_of,
)
from omnitrace.cli.run_options import asked_executor
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.runs.attempts import ATTEMPTS

if TYPE_CHECKING:
    from omnitrace.estimator.gather import Spread
    from omnitrace.estimator.train import TrainOptions
    from omnitrace.tracer import Tracer

__all__ = ["estimator"]

estimator = typer.Typer(
    no_args_is_help=True,
    help="Estimators that predict from attention what ablating a source would do.",
)


@estimator.command()
@guarded
def train(
    requests: Annotated[
        Path,
        typer.Option(
            help="A .json or .jsonl file of requests; one with a field 'response' is not answered "
            "again."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The estimator, a safetensors file.")],
    model: Annotated[
        str, typer.Option(help="The model it is for: 'reference', a hub id, a folder, a GGUF file.")
    ] = "reference",
    device: Device = None,
    fit: Annotated[
        str, typer.Option(metavar="ridge|pearson|nnls|mlp", help="How weights are learnt.")
    ] = "ridge",
    target: Annotated[
        str,
        typer.Option(
            metavar="masks|verified",
            help="What is learnt: log-probabilities under masks, or what verification by ablation "
            "finds, with spans that have no source.",
        ),
    ] = "masks",
    masks: Annotated[
        int, typer.Option(min=2, help="Masks that each request is measured under, to learn from.")
    ] = 64,
    keep_rates: Annotated[
        str,
        typer.Option(
            help="Probabilities with which masks keep a unit, separated by commas; every mask is "
            "followed by its complement."
        ),
    ] = "0.5,0.7",
    operator: Annotated[
        str, typer.Option(help="How units are ablated; see 'omnitrace list operators'.")
    ] = "attention",
    reduction: Annotated[
        str, typer.Option(metavar="sum|mean", help="Over the tokens of a unit.")
    ] = "sum",
    raw: Annotated[
        bool, typer.Option("--raw", help="Attention as it is, not its shares over the units.")
    ] = False,
    values: Annotated[
        bool, typer.Option("--values", help="Weigh attention by the length of what it carries.")
    ] = False,
    pooling: Annotated[
        str, typer.Option(metavar="mean|max", help="Over the tokens of a span.")
    ] = "mean",
    rollout: Annotated[
        bool,
        typer.Option(
            "--rollout", help="Also follow attention to earlier words to what these rested on."
        ),
    ] = False,
    gradients: Annotated[
        str,
        typer.Option(
            metavar="none|total|heads",
            help="Also look at what hiding a unit does to the written words, to first order: in "
            "all heads together, or in each. Decoding takes about twice as long with it.",
        ),
    ] = "none",
    mask_gradient: Annotated[
        bool,
        typer.Option(
            "--mask-gradient",
            help="Also look at the gradient by how much of each unit is seen, half of everything "
            "hidden: closer to measured effects, but of finished responses only, at a pass a "
            "response and a backward pass a span.",
        ),
    ] = False,
    noise: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="NATS",
            help="Spans that masks move by fewer nats teach less. By default 1, and 0 with "
            "--gradients or --mask-gradient.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Only these decoder layers, separated by commas; by default all."),
    ] = None,
    image_units: ImageUnits = "grid",
    audio_units: AudioUnits = "bins",
    video_units: VideoUnits = "bins",
    held_out: Annotated[
        float,
        typer.Option(help="Share of the requests that evaluate and calibrate, between 0 and 1."),
    ] = 0.2,
    evaluation_masks: Annotated[
        int,
        typer.Option(min=4, help="Masks that evaluate a held-out request, of either form of LDS."),
    ] = 64,
    level: Annotated[
        float, typer.Option(help="Share of units that intervals cover, between 0 and 1.")
    ] = 0.9,
    max_new_tokens: MaxNewTokens = 256,
    media_root: MediaRoot = None,
    confine: Confine = True,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where measurements are kept; by default FILE.cache beside it."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of masks and splits.")] = 0,
    on: On = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    attempts: Annotated[
        int,
        typer.Option(
            min=1, help="With --on: after how many processes that it ended a request is given up."
        ),
    ] = ATTEMPTS,
) -> None:
    """Train an estimator for a model on requests, and say how good it is on held-out ones.

    What is measured is kept: a run that was stopped goes on where it was when the same command is
    given again, and another fit starts from the same measurements. The estimator is for sources
    that are cut by the same units. With --on the measurements are spread over several processes.
    """
    from omnitrace.estimator.collect import CollectOptions
    from omnitrace.estimator.features import FeatureRecipe, Gradients
    from omnitrace.estimator.fit import usual_noise
    from omnitrace.estimator.fit_options import FitOptions
    from omnitrace.estimator.gather import Spread
    from omnitrace.estimator.train import TrainOptions
    from omnitrace.sources.options import SourceOptions

    if reduction not in ("sum", "mean"):
        raise InputError(f"--reduction is {reduction!r}", legal="sum or mean")
    if pooling not in ("mean", "max"):
        raise InputError(f"--pooling is {pooling!r}", legal="mean or max")
    if gradients not in get_args(Gradients):
        raise InputError(f"--gradients is {gradients!r}", legal=", ".join(get_args(Gradients)))
    if mask_gradient and gradients != "none":
        raise InputError(
            f"both --gradients {gradients} and --mask-gradient are given",
            legal="one of them: the first while the model writes, the second when it has written",
        )
    executor = asked_executor(on, actors, gpus_per_actor, out)
    recipe = FeatureRecipe(
        reduction=reduction,  # type: ignore[arg-type]  # checked above
        normalise="raw" if raw else "shares",
        values=values,
        layers=_layers(layers),
        pooling=pooling,  # type: ignore[arg-type]  # checked above
        rollout=rollout,
        gradients=gradients,  # type: ignore[arg-type]  # checked above
        mask_gradient=mask_gradient,
    )
    options = TrainOptions(
        collect=CollectOptions(
            recipe=recipe,
            masks=masks,
            keep_rates=_rates(keep_rates),
            evaluation_masks=evaluation_masks,
            operator=operator,
            target=target,  # type: ignore[arg-type]  # checked there
            max_new_tokens=max_new_tokens,
            seed=seed,
        ),
        fit=FitOptions(
            kind=fit,  # type: ignore[arg-type]  # checked there
            noise=usual_noise(recipe) if noise is None else noise,
            seed=seed,
        ),
        held_out=held_out,
        level=level,
    )
    sources = SourceOptions(image=image_units, audio=audio_units, video=video_units)
    load = tracer_loader(model, "attention-mean", device=device, sources=sources)
    raise typer.Exit(
        _train(
            requests,
            out,
            options,
            load=load,
            spread=None if executor is None else Spread(executor, load, attempts),
            media_root=root_of(media_root, confine),
            cache=cache or out.with_name(f"{out.name}.cache"),
        )
    )


def _train(
    requests: Path,
    out: Path,
    options: TrainOptions,
    *,
    load: Callable[..., Tracer],
    media_root: Path | None,
    cache: Path,
    spread: Spread | None,
) -> int:
    """Train an estimator on a file of requests, write it, print its card; return the exit code."""
    from omnitrace.cli.estimator_output import print_card
    from omnitrace.estimator.store import save
    from omnitrace.estimator.train import train_estimator
    from omnitrace.sources.request_files import read_requests

    check_output(out)
    entries = read_requests(requests, media_root=media_root)
    failed: list[str] = []
    with StatusLine() as status:
        tracer = load(status=status)

        def say_failure(name: str, error: OmnitraceError) -> None:
            failed.append(name)
            with status.paused():
                say_mistake(f"{name}: {error}")

        try:
            learned = train_estimator(
                tracer,
                entries,
                options,
                cache=cache,
                progress=status.show,
                failed=say_failure,
                spread=spread,
            )
        except KeyboardInterrupt:
            with status.paused():
                say(f"what was measured is kept in {cache}; the same command goes on from there")
            raise
    print_card(save(out, learned), learned.card)
    say(f"wrote {out}")
    if failed:
        say(f"{len(failed)} of {len(entries)} requests could not be used: {', '.join(failed)}")
    return MISTAKE if failed else 0


def _rates(text: str) -> tuple[float, ...]:
    """Read ``--keep-rates``."""
    try:
        return tuple(float(each) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise InputError(
            f"--keep-rates is {text!r}", legal="numbers between 0 and 1, separated by commas"
        ) from error


def _layers(text: str | None) -> Literal["all"] | tuple[int, ...]:
    """Read ``--layers``."""
    if text is None:
        return "all"
    try:
        found = tuple(int(each) for each in text.split(",") if each.strip())
    except ValueError:
        found = ()
    if not found:
        raise InputError(
            f"--layers is {text!r}", legal="indices of layers, separated by commas, such as 4,5,6"
        )
    return found


@estimator.command()
@guarded
def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What 'train' wrote.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the card as one JSON document.")
    ] = False,
) -> None:
    """Print the card of an estimator: what it is for, how it was trained, how good it is."""
    from omnitrace.cli.estimator_output import print_card
    from omnitrace.estimator.store import load

    card = load(path).card
    if as_json:
        print_json(card.model_dump(mode="json"))
    else:
        print_card(path, card)
