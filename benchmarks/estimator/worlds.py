"""One world that estimators are compared in: who is judged, and on what."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from rich.progress import track

from common.examples import Example, Grouping
from common.methods import Method, metered
from common.scoring import SEED, Judged, Plan, judge
from estimator.data import Data
from estimator.fits import (
    AFTER,
    OURS,
    PAPER,
    WITH_GRADIENTS,
    Candidate,
    Chosen,
    Fitting,
    Which,
    choose,
    lesson,
    mean_lds,
    one_by_one,
)
from omnitrace.estimator.calibration import CalibrationExample as Measured
from omnitrace.estimator.calibration import calibrate
from omnitrace.evaluation.metrics.bootstrap import Estimate, bootstrap

__all__ = [
    "ESTIMATOR",
    "FINISHED",
    "GRADIENTS",
    "PAPERS",
    "Compared",
    "World",
    "compare",
    "judge_example",
    "values_of",
]

ESTIMATOR: Final = "estimator"
GRADIENTS: Final = "estimator, gradients"
FINISHED: Final = "estimator, mask-gradient"
PAPERS: Final = "vSTREAM's recipe"
_CANDIDATES: Final = {ESTIMATOR: OURS, GRADIENTS: WITH_GRADIENTS, FINISHED: AFTER, PAPERS: PAPER}
_FEWEST: Final = 2  # examples that an estimator can be fitted on


@dataclass(frozen=True)
class World:
    """Examples to learn from, to choose and calibrate on, and to judge on, and the rivals.

    ``whole``: whether responses are judged as one span too. ``in_nats`` are the rivals whose scores
    need no calibration. ``sizes`` are the numbers of examples of the data curve. ``ahead``, where
    there is one, is given what was chosen and the plan, and lets workers measure what judges;
    ``fitting`` fits.
    """

    name: str
    data: Data
    learning: Sequence[Example]
    choosing: Sequence[Example]
    judging: Sequence[Example]
    rivals: Sequence[Method]
    in_nats: frozenset[str]
    grouping: Grouping
    sizes: Sequence[int]
    whole: bool = False
    ahead: Callable[[Mapping[str, Chosen], Callable[[int], Plan]], None] | None = None
    fitting: Fitting = one_by_one


@dataclass
class Compared:
    """What was found in a world: figures of each method, by sentence and for whole responses."""

    world: World
    chosen: dict[str, Chosen]
    judged: list[Judged] = field(default_factory=list)
    whole: list[Judged] = field(default_factory=list)
    r_squared: dict[str, Estimate] = field(default_factory=dict)
    forwards: dict[str, list[float]] = field(default_factory=dict)
    curve: dict[str, dict[str, float]] = field(default_factory=dict)
    transfer: dict[str, dict[str, float]] = field(default_factory=dict)


def compare(world: World, plan: Callable[[int], Plan]) -> Compared:
    """Fit, choose, and judge everybody on the same masks.

    Parameters
    ----------
    world:
        Who and on what.
    plan:
        What is measured on the judged example of this number.
    """
    data = world.data
    chosen = {
        name: choose(data, candidates, world.learning, world.choosing, world.fitting)
        for name, candidates in _CANDIDATES.items()
    }
    found = Compared(world, chosen)
    if world.ahead is not None:
        world.ahead(chosen, plan)
    predicted: dict[str, list[np.ndarray]] = {}
    for number, example in enumerate(track(world.judging, description=f"judging {world.name}")):
        for name, each in judge_example(found, example, plan(number)).items():
            predicted.setdefault(name, []).append(each)
    found.r_squared = _explained(found, predicted)
    found.curve = _curve(found)
    found.transfer = _transfer(found)
    return found


def judge_example(found: Compared, example: Example, plan: Plan) -> dict[str, np.ndarray]:
    """Judge everybody on one more example; return their scores, ``[S, K]``."""
    data = found.world.data
    scores, fitted = _scores(found, example)
    found.judged.append(_judged(data, example, scores, fitted, plan))
    if found.world.whole:
        summed = {name: each.sum(axis=0, keepdims=True) for name, each in scores.items()}
        summed |= {
            name: each.scores(data, example, whole=True) for name, each in found.chosen.items()
        }
        found.whole.append(_judged(data, example, summed, fitted, plan, whole=True))
    return scores


def _scores(
    found: Compared, example: Example
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the scores, ``[S, K]``, and the fitted masks, ``[m, K]``, of each method."""
    data, units = found.world.data, len(example.sizes)
    scores = {name: each.scores(data, example) for name, each in found.chosen.items()}
    fitted: dict[str, np.ndarray] = {}
    for method in found.world.rivals:
        if method.refusal(example) is not None:
            continue
        said = metered(method, data.subject, example)
        scores[method.name] = np.array(said["scores"])
        fitted[method.name] = np.array(said["fitted"], dtype=bool).reshape(-1, units)
        found.forwards.setdefault(method.name, []).append(said["forwards"])
    return scores, fitted


def _judged(
    data: Data,
    example: Example,
    scores: Mapping[str, np.ndarray],
    fitted: Mapping[str, np.ndarray],
    plan: Plan,
    *,
    whole: bool = False,
) -> Judged:
    def measured(masks: np.ndarray, operator: str) -> np.ndarray:
        values = data.subject.measure(example, masks, operator)
        return values.sum(axis=1, keepdims=True) if whole else values

    tokens = example.span_tokens
    return judge(
        measured,
        scores,
        fitted,
        name=example.name,
        sizes=example.sizes,
        span_tokens=tokens.sum(keepdims=True) if whole else tokens,
        plan=plan,
    )


def _explained(
    found: Compared, predicted: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, Estimate]:
    """Return R² of single-unit effects over all judged examples, after the calibration to nats."""
    world, said = found.world, {}
    truths = [world.data.single_effects(example) for example in world.judging]
    known = [world.data.single_effects(example) for example in world.choosing]
    for name, scores in predicted.items():
        if len(scores) < len(truths):  # it refused some
            continue
        nats = scores if name in world.in_nats else _in_nats(found, name, scores, known)
        sums = np.array([_sums(*each) for each in zip(nats, truths, strict=True)])
        said[name] = bootstrap(len(sums), lambda drawn, of=sums: _r_squared(of[drawn]), seed=SEED)
    return said


def _in_nats(
    found: Compared, name: str, scores: Sequence[np.ndarray], known: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Calibrate on the examples for choices, whose effects are ``known``, all methods alike."""
    world = found.world
    measured = []
    for example, effects in zip(world.choosing, known, strict=True):
        theirs = _scores_of(found, name, example)
        measured.append(Measured(theirs, np.ones_like(theirs), effects, example.span_tokens))
    factor = calibrate(measured)
    return [
        np.stack(
            [factor.effects(row, float(n)) for row, n in zip(each, of.span_tokens, strict=True)]
        )
        for each, of in zip(scores, world.judging, strict=True)
    ]


def _scores_of(found: Compared, name: str, example: Example) -> np.ndarray:
    if name in found.chosen:
        return found.chosen[name].scores(found.world.data, example)
    (method,) = (each for each in found.world.rivals if each.name == name)
    return np.array(metered(method, found.world.data.subject, example)["scores"])


def _sums(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float, float, float]:
    error = ((truth - predicted) ** 2).sum()
    return float(error), float((truth**2).sum()), float(truth.sum()), float(truth.size)


def _r_squared(sums: np.ndarray) -> float | None:
    """Return ``1 - SSE / SST`` of examples' sums: squared error, squares, values, their number."""
    error, squares, total, count = sums.sum(axis=0)
    spread = squares - total**2 / count
    return 1 - error / spread if spread > 0 else None


def _curve(found: Compared) -> dict[str, dict[str, float]]:
    """Return LDS on the judged examples by number of examples learnt from, then by way to fit."""
    world, ours = found.world, found.chosen[ESTIMATOR].candidate
    kinds = {each.options.kind: each.options for each in OURS}
    ways = {kind: Candidate(kind, ours.recipe, options) for kind, options in kinds.items()}
    ways |= {name: found.chosen[name].candidate for name in (GRADIENTS, FINISHED, PAPERS)}
    runs = list(itertools.product(world.sizes, ways))
    fitted = world.fitting(
        lesson(world.data, ways[name], world.learning[:size]) for size, name in runs
    )
    said: dict[str, dict[str, float]] = {}
    for (size, name), weights in zip(runs, fitted, strict=True):
        value = mean_lds(world.data, ways[name], weights, world.judging)
        said.setdefault(str(size), {})[name] = value
    return said


def _transfer(found: Compared) -> dict[str, dict[str, float]]:
    """Return LDS on the sentences of one group of those who learnt from another's, or from all."""
    world, ours = found.world, found.chosen[ESTIMATOR]
    names = sorted({name for each in world.judging for name in world.grouping(each)})

    def of(name: str) -> Which:
        nothing = np.zeros(0, dtype=bool)

        def inside(example: Example) -> np.ndarray:
            found_there = world.grouping(example).get(name)
            return nothing if found_there is None else found_there

        return inside

    def teaches(name: str) -> bool:
        return sum(of(name)(each).any() for each in world.learning) >= _FEWEST

    sources: dict[str, Which | None] = {name: of(name) for name in names if teaches(name)}
    sources["all"] = None
    found_weights = world.fitting(
        lesson(world.data, ours.candidate, world.learning, kept) for kept in sources.values()
    )
    said: dict[str, dict[str, float]] = {}
    for source, fitted in zip(sources, found_weights, strict=True):
        values = {
            target: mean_lds(world.data, ours.candidate, fitted, world.judging, of(target))
            for target in names
        }
        said[source] = {target: value for target, value in values.items() if not np.isnan(value)}
    return said


def values_of(found: Compared) -> dict[str, Any]:
    """Return what was chosen, the data curve and the transfer, JSON-ready."""
    return {
        "chosen": {
            name: {
                "candidate": each.candidate.name,
                "tried": dict(each.tried),
                "fit": dict(each.fitted.chosen),
            }
            for name, each in found.chosen.items()
        },
        "r_squared": {name: each.figures() for name, each in found.r_squared.items()},
        "curve": found.curve,
        "transfer": found.transfer,
    }
