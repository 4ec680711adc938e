"""Print what is known of an estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.text import Text

from omnitrace.cli.console import make_console, plain, print_table
from omnitrace.estimator.features import Gradients
from omnitrace.estimator.store import Card, Figures
from omnitrace.sources.unitizers.base import spelled

__all__ = ["print_card"]

_GRADIENTS: Final[dict[Gradients, str]] = {
    "none": "",
    "total": ", and first-order effects",
    "heads": ", and first-order effects of each head",
}


def print_card(path: Path, card: Card) -> None:
    """Print a card: facts, then figures."""
    console = make_console()
    console.print(Text(plain(path.name), style="bold underline"), soft_wrap=True)
    print_table(console, [("what", "value"), *_facts(card)])
    console.print()
    methods = list(dict.fromkeys(name for each in card.quality.values() for name in each))
    lines = [
        [name, *(_figure(found[name]) if name in found else "–" for found in card.quality.values())]  # noqa: RUF001
        for name in methods
    ]
    print_table(console, [("held-out requests", *card.quality), *lines])


def _facts(card: Card) -> list[tuple[str, str]]:
    model, training, fit, calibration = card.model, card.training, card.fit, card.calibration
    recipe = card.recipe
    layers = f"{len(model.layers)} layers ({_ranges(model.layers)}) of {model.heads} heads"
    features = f"{recipe.reduction} of attention{' times values' if recipe.values else ''}"
    features += (
        f", {recipe.pooling} over a span{', direct and by rollout' if recipe.rollout else ''}"
    )
    features += _GRADIENTS[recipe.gradients]
    features += ", and the gradient of a mask" if recipe.mask_gradient else ""
    chosen = ", ".join(f"{name} {value:g}" for name, value in fit.chosen.items())
    if fit.kind != "pearson":
        chosen += f", noise {fit.noise:g} nats"
    sources = ", ".join(f"{name} {spelled(value)}" for name, value in card.sources.items())
    rates = ", ".join(f"{rate:g}" for rate in training.keep_rates)
    learnt = (
        f"{training.masks} a request, keeping {rates}; operator {training.operator}"
        if training.target == "masks"
        else "none: verified effects"
    )
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
        ("masks", learnt),
        ("held out", f"{training.held_out} requests"),
        ("data", training.data),
        ("seed", str(training.seed)),
        ("nats", f"{calibration.factor:.4g} x tokens^{calibration.power:g} x score"),
        ("intervals", interval),
        *([("no source below", f"{calibration.least:.3g} nats")] if calibration.least else []),
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
