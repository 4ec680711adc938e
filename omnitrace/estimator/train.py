"""Train an estimator: collect examples, fit, evaluate and calibrate on held-out ones."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from omnitrace._utils.paths import base_of_path
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.estimator.calibration import (
    Calibration,
    CalibrationExample,
    calibrate,
    with_threshold,
)
from omnitrace.estimator.collect import CollectOptions, Collector
from omnitrace.estimator.examples import Example, HeldOut, digest_of_examples
from omnitrace.estimator.fit import fit_weights, usual_noise
from omnitrace.estimator.fit_options import FitOptions
from omnitrace.estimator.gather import Gathering, Spread, examples_maker
from omnitrace.estimator.store import (
    CalibrationFacts,
    Card,
    Figures,
    FitFacts,
    Learned,
    ModelFacts,
    TrainingFacts,
    sources_record,
)
from omnitrace.estimator.weights import Fitted
from omnitrace.evaluation.metrics.bootstrap import bootstrap_mean
from omnitrace.evaluation.metrics.faithfulness import control_scores, lds
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.sources.request_files import FileEntry
from omnitrace.tracer import Tracer

__all__ = ["TrainOptions", "calibrated", "quality", "train_estimator"]

_PACKAGES: Final = ("omnitrace-attribution", "torch", "transformers", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How an estimator is trained.

    Attributes
    ----------
    collect:
        What is measured of each request.
    fit:
        How weights are learnt; None: by ridge, with the usual noise for the features.
    held_out:
        Share of the requests that nothing is fitted on: they evaluate and calibrate. At least one.
    level:
        Share of units that intervals are to cover; see :func:`~omnitrace.estimator.calibrate`.
    """

    collect: CollectOptions = field(default_factory=CollectOptions)
    fit: FitOptions | None = None
    held_out: float = 0.2
    level: float = 0.9

    def __post_init__(self) -> None:
        for name in ("held_out", "level"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(
                    f"{name} is {getattr(self, name)}", legal="a number above 0 and below 1"
                )


def train_estimator(
    tracer: Tracer,
    requests: Sequence[FileEntry],
    options: TrainOptions | None = None,
    *,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
    failed: Callable[[str, OmnitraceError], None] | None = None,
    spread: Spread | None = None,
) -> Learned:
    """Train an estimator for the model of a tracer.

    Parameters
    ----------
    tracer:
        Holds the model, and how requests are cut into units and responses into spans.
    requests:
        What the model responds to; a request whose record has a ``response`` keeps that one.
    options:
        How.
    cache:
        Folder in which all that is measured is kept: a run that was killed goes on from there.
    progress:
        Called with what is being done.
    failed:
        Called with the id and the error of each request that cannot be used; without it the first
        error is raised.
    spread:
        The processes that measure, with a ``cache``; by default this one does.

    Raises
    ------
    InputError
        If there are too few requests, or nothing can be learnt from them.
    """
    given = options or TrainOptions()
    collector = Collector(tracer, given.collect, cache=cache)
    run = Gathering(examples_maker(collector, spread, cache), given.collect.seed, progress, failed)
    held, rest = run.held_out(requests, given.held_out)
    examples = run.learning(rest)
    if not held:
        raise InputError("none of the requests can be used", legal="at least 3 that can")
    progress("fitting")
    fit = given.fit or FitOptions(noise=usual_noise(given.collect.recipe))
    fitted = fit_weights(examples, fit)
    verified = given.collect.target == "verified"
    calibration = calibrated(fitted, held, level=given.level, verified=verified)
    card = _card(collector, given.collect, fit, examples, held, fitted, calibration)
    return Learned(card, fitted, calibration)


def calibrated(
    fitted: Fitted, held: Sequence[HeldOut], *, level: float = 0.9, verified: bool = False
) -> Calibration:
    """Calibrate a fit on held-out examples; see :func:`~omnitrace.estimator.calibrate`.

    Where their effects are ``verified``, also below which effect a span has no source.
    """
    measured = []
    for each in held:
        features, modalities = each.example.features, each.example.modalities
        measured.append(
            CalibrationExample(
                fitted.scores(features, modalities),
                fitted.spreads(features, modalities),
                each.effects,
                each.example.tokens,
            )
        )
    found = calibrate(measured, level=level)
    return with_threshold(found, measured) if verified else found


def quality(fitted: Fitted, held: Sequence[HeldOut], *, seed: int = 0) -> dict[str, Any]:
    """Evaluate a fit on held-out examples, beside attention-mean and the controls.

    Returns
    -------
    dict
        By metric ("lds", "size-controlled-lds"), then by method: an ``Estimate`` with a 95 %
        interval over examples.
    """
    found: dict[str, dict[str, list[list[float | None]]]] = {"lds": {}, "size-controlled-lds": {}}
    for each in held:
        example = each.example
        scores = {
            "estimator": fitted.scores(example.features, example.modalities),
            "attention-mean": each.baseline,
            **control_scores(each.sizes, len(example.tokens), seed=seed),
        }
        del scores["random"]
        for method, values in scores.items():
            plain = lds(values, example.masks, example.logprobs)
            same = lds(values, each.sized_masks, each.sized_logprobs)
            found["lds"].setdefault(method, []).append(plain.tolist())
            found["size-controlled-lds"].setdefault(method, []).append(same.tolist())
    return {
        metric: {method: bootstrap_mean(groups, seed=seed) for method, groups in methods.items()}
        for metric, methods in found.items()
    }


def _card(
    collector: Collector,
    collect: CollectOptions,
    fit: FitOptions,
    examples: Sequence[Example],
    held: Sequence[HeldOut],
    fitted: Fitted,
    calibration: Calibration,
) -> Card:
    tracer, recipe = collector.tracer, collect.recipe
    features = examples[0].features.shape[1] - recipe.beside
    everything = [*examples, *(each.example for each in held)]
    return Card(
        model=ModelFacts(
            name=base_of_path(str(tracer.adapter.source)),
            adapter=tracer.adapter.name,
            fingerprint=collector.fingerprint,
            layers=collector.layers,
            heads=features // (len(collector.layers) * recipe.per_head),
        ),
        sources=sources_record(tracer.setup.sources),
        recipe=recipe,
        fit=FitFacts(
            kind=fitted.kind,
            offsets=fit.with_offsets,
            noise=fit.noise,
            chosen=dict(fitted.chosen),
            tried=dict(fitted.tried),
        ),
        calibration=CalibrationFacts(
            factor=calibration.factor,
            power=calibration.power,
            quantile=calibration.quantile,
            level=calibration.level,
            examples=calibration.examples,
            least=calibration.least,
        ),
        training=TrainingFacts(
            data=digest_of_examples(examples),
            examples=len(examples),
            spans=sum(len(each.tokens) for each in examples),
            held_out=len(held),
            masks=collect.masks if collect.target == "masks" else 0,
            keep_rates=collect.keep_rates if collect.target == "masks" else (),
            operator=collect.operator,
            modalities=tuple(sorted({kind for each in everything for kind in each.modalities})),
            span_unit=tracer.setup.span_unit,
            seed=collect.seed,
            target=collect.target,
        ),
        quality={
            metric: {method: Figures(**estimate.figures()) for method, estimate in methods.items()}
            for metric, methods in quality(fitted, held, seed=collect.seed).items()
        },
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
