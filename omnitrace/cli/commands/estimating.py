"""``omnitrace estimator``: train an estimator, and print what is known of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from rich.text import Text

from omnitrace._utils.files import make_folder
from omnitrace.cli.commands.trace import Progress, load_tracer, print_json
from omnitrace.cli.console import make_console, plain, print_table
from omnitrace.cli.exit_codes import MISTAKE, say, say_mistake
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.estimator.features import Gradients
from omnitrace.estimator.store import Card, Figures, load, save
from omnitrace.estimator.train import TrainOptions, train_estimator
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.request_files import read_requests
from omnitrace.sources.unitizers.base import spelled

if TYPE_CHECKING:
    from omnitrace.estimator.train import TrainOptions
    from omnitrace.sources.options import SourceOptions

__all__ = ["layers_of", "rates_of", "show_file", "train_file"]

_GRADIENTS: Final[dict[Gradients, str]] = {
    "none": "",
    "total": ", and first-order effects",
    "heads": ", and first-order effects of each head",
}


def rates_of(text: str) -> tuple[float, ...]:
    """Read ``--keep-rates``."""
    try:
        return tuple(float(each) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise InputError(
            f"--keep-rates is {text!r}", legal="numbers between 0 and 1, separated by commas"
        ) from error


def layers_of(text: str | None) -> Literal["all"] | tuple[int, ...]:
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


def train_file(
    requests: Path,
    out: Path,
    options: TrainOptions,
    *,
    model: str,
    device: str | None = None,
    sources: SourceOptions | None = None,
    media_root: Path | None = None,
    cache: Path | None = None,
) -> int:
    """Train an estimator on a file of requests, write it, print its card.

    Returns
    -------
    int
        2 if some of the requests could not be used, else 0.
    """
    if out.is_dir():
        raise InputError(f"{str(out)!r} is a folder", legal="the name of a file to write")
    entries = read_requests(requests, media_root=media_root)
    make_folder(out.parent)
    folder = cache or out.with_name(f"{out.name}.cache")
    failed: list[str] = []
    with Progress() as progress:
        tracer = load_tracer(model, "attention-mean", progress, device=device, sources=sources)

        def tell_failure(name: str, error: OmnitraceError) -> None:
            failed.append(name)
            with progress.paused():
                say_mistake(f"{name}: {error}")

        try:
            learned = train_estimator(
                tracer,
                entries,
                options,
                cache=folder,
                tell=progress.show,
                failed=tell_failure,
            )
        except KeyboardInterrupt:
            with progress.paused():
                say(f"what was measured is kept in {folder}; the same command goes on from there")
            raise
    print_card(save(out, learned), learned.card)
    say(f"wrote {out}")
    if failed:
        say(f"{len(failed)} of {len(entries)} requests could not be used: {', '.join(failed)}")
    return MISTAKE if failed else 0


def show_file(path: Path, *, as_json: bool = False) -> None:
    """Print the card of an estimator."""
    card = load(path).card
    if as_json:
        print_json(card.model_dump(mode="json"))
    else:
        print_card(path, card)


def print_card(path: Path, card: Card) -> None:
    """Print a card: facts, then figures."""
    console = make_console()
    console.print(Text(plain(path.name), style="bold underline"), soft_wrap=True)
    print_table(console, [("what", "value"), *_facts(card)])
    console.print()
    methods = list(dict.fromkeys(name for each in card.quality.values() for name in each))
    rows = [
        [name, *(_figure(found[name]) if name in found else "–" for found in card.quality.values())]  # noqa: RUF001
        for name in methods
    ]
    print_table(console, [("held-out requests", *card.quality), *rows])


def _facts(card: Card) -> list[tuple[str, str]]:
    model, training, fit, calibration = card.model, card.training, card.fit, card.calibration
    recipe = card.recipe
    layers = f"{len(model.layers)} layers ({_ranges(model.layers)}) of {model.heads} heads"
    features = f"{recipe.reduction} of attention{' times values' if recipe.values else ''}"
    features += f", {recipe.pooling} over a span{', direct and relayed' if recipe.relay else ''}"
    features += _GRADIENTS[recipe.gradients]
    features += ", and the gradient of a mask" if recipe.mask_gradient else ""
    chosen = ", ".join(f"{name} {value:g}" for name, value in fit.chosen.items())
    if fit.kind != "pearson":
        chosen += f", noise {fit.noise:g} nats"
    sources = ", ".join(f"{name} {spelled(value)}" for name, value in card.sources.items())
    rates = ", ".join(f"{rate:g}" for rate in training.keep_rates)
    interval = (
        f"too few examples for {calibration.level:.0%}"
        if calibration.quantile is None
        else f"{calibration.level:.0%} of units, {calibration.quantile:.2f} spreads"
    )
    return [
        ("model", f"{model.name} ({model.adapter})"),
        ("fingerprint", model.fingerprint),
        ("shape", layers),
        ("units", sources),
        ("features", f"{features}, {recipe.normalise}"),
        ("fit", f"{fit.kind}, {chosen}{', offsets by modality' if fit.offsets else ''}"),
        ("trained on", f"{training.examples} requests, {training.spans} {training.span_unit}s"),
        ("modalities", ", ".join(training.modalities)),
        ("masks", f"{training.masks} a request, keeping {rates}; operator {training.operator}"),
        ("held out", f"{training.held_out} requests"),
        ("data", training.data),
        ("seed", str(training.seed)),
        ("nats", f"{calibration.factor:.4g} x tokens^{calibration.power:g} x score"),
        ("intervals", interval),
        ("versions", ", ".join(f"{name} {found}" for name, found in card.versions.items())),
        ("created", card.created),
    ]


def _figure(figure: Figures) -> str:
    if figure.value is None:
        return f"– (of {figure.undefined})"  # noqa: RUF001
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def _ranges(numbers: tuple[int, ...]) -> str:
    """Write ascending numbers shortly: ``0–4, 7``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(
        str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}"  # noqa: RUF001
        for part in parts
    )
