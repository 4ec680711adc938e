"""Estimators as a method among others: candidates, the choice between them, their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.examples import Example
from estimator.data import Data, spans_of
from omnitrace.estimator import Example as Learnt
from omnitrace.estimator import FeatureRecipe, FitOptions, Fitted, fit_weights
from omnitrace.evaluation.metrics.faithfulness import lds

__all__ = [
    "AFTER",
    "OURS",
    "PAPER",
    "WITH_GRADIENTS",
    "Candidate",
    "Chosen",
    "Fitting",
    "Lesson",
    "Which",
    "choose",
    "lesson",
    "mean_lds",
    "one_by_one",
]

#: Says which sentences of an example are used: bool ``[S]``.
Which = Callable[[Example], np.ndarray]
#: What is learnt from, and how.
Lesson = tuple[list[Learnt], FitOptions]
#: Fits each of several lessons.
Fitting = Callable[[Iterable[Lesson]], list[Fitted]]


@dataclass(frozen=True)
class Candidate:
    """A way to make and to weigh features."""

    name: str
    recipe: FeatureRecipe
    options: FitOptions


@dataclass(frozen=True)
class Chosen:
    """The candidate that did best on the examples for choices, fitted; and how all of them did."""

    candidate: Candidate
    fitted: Fitted
    tried: Mapping[str, float]

    def scores(self, data: Data, example: Example, *, whole: bool = False) -> np.ndarray:
        """Return ``[S, K]``, of each sentence, or of the response as one span."""
        features = data.features(example, self.candidate.recipe, spans_of(example, whole=whole))
        modalities = [unit.modality for unit in example.trace.units]
        return self.fitted.scores(features, modalities)


def _candidates(
    kind: str, named: Mapping[str, FeatureRecipe], *, alike: bool = False
) -> tuple[Candidate, ...]:
    """Return a candidate a recipe; with ``alike`` all spans weigh the same in its fit."""
    options = FitOptions(kind=kind, noise=0.0) if alike else FitOptions(kind=kind)  # type: ignore[arg-type]
    way = f"{kind}, spans alike" if alike else kind
    return tuple(Candidate(f"{way}, {name}", recipe, options) for name, recipe in named.items())


#: vSTREAM's: attention averaged over a unit's and a span's tokens, Pearson's correlation, Adam.
#: Its learning rate and number of steps are chosen on left-out examples.
PAPER: Final = _candidates(
    "pearson",
    {
        "means": FeatureRecipe(reduction="mean", normalise="raw"),
        "shares of means": FeatureRecipe(reduction="mean"),
    },
)
#: Ours: sums as shares; closed forms whose penalty is chosen on left-out examples, and a network.
OURS: Final = (
    *_candidates(
        "ridge",
        {
            "shares": FeatureRecipe(),
            "value shares": FeatureRecipe(values=True),
            "value shares, rollout": FeatureRecipe(values=True, rollout=True),
            "largest value shares, rollout": FeatureRecipe(
                values=True, rollout=True, pooling="max"
            ),
        },
    ),
    *_candidates("nnls", {"value shares": FeatureRecipe(values=True)}),
    *_candidates(
        "mlp", {"shares": FeatureRecipe(), "shares, rollout": FeatureRecipe(rollout=True)}
    ),
)
_FIRST_ORDER: Final = FeatureRecipe(values=True, rollout=True, gradients="total")
#: Ours with gradients: what hiding a unit does to the written words, to first order.
WITH_GRADIENTS: Final = (
    *_candidates(
        "ridge",
        {
            "value shares, first-order effects": FeatureRecipe(values=True, gradients="total"),
            "value shares, rollout, first-order effects": _FIRST_ORDER,
            "value shares, first-order effects of heads": FeatureRecipe(
                values=True, gradients="heads"
            ),
        },
    ),
    *_candidates(
        "mlp",
        {
            "shares, first-order effects": FeatureRecipe(gradients="total"),
            "shares, first-order effects of heads": FeatureRecipe(gradients="heads"),
        },
    ),
    *_candidates("ridge", {"value shares, rollout, first-order effects": _FIRST_ORDER}, alike=True),
    *_candidates(
        "mlp", {"shares, first-order effects": FeatureRecipe(gradients="total")}, alike=True
    ),
)
_AFTER: Final = {
    "shares, mask gradient": FeatureRecipe(mask_gradient=True),
    "value shares, rollout, mask gradient": FeatureRecipe(
        values=True, rollout=True, mask_gradient=True
    ),
}
#: Ours of a finished response: attention, and the gradient by how much of a unit is seen.
AFTER: Final = tuple(
    candidate
    for kind in ("ridge", "mlp")
    for alike in (False, True)
    for candidate in _candidates(kind, _AFTER, alike=alike)
)


def lesson(
    data: Data, candidate: Candidate, examples: Sequence[Example], kept: Which | None = None
) -> Lesson:
    """Return what a candidate learns, of some sentences only where ``kept`` says which."""
    learnt = [_some(data.learnt(each, candidate.recipe), each, kept) for each in examples]
    return [each for each in learnt if each is not None], candidate.options


def one_by_one(lessons: Iterable[Lesson]) -> list[Fitted]:
    """Fit in this process."""
    return [fit_weights(*each) for each in lessons]


def choose(
    data: Data,
    candidates: Sequence[Candidate],
    learning: Sequence[Example],
    choosing: Sequence[Example],
    fitting: Fitting = one_by_one,
) -> Chosen:
    """Fit all candidates, and take the one of the highest LDS on other examples."""
    found = fitting(lesson(data, each, learning) for each in candidates)
    fitted = {each.name: weights for each, weights in zip(candidates, found, strict=True)}
    tried = {each.name: mean_lds(data, each, fitted[each.name], choosing) for each in candidates}
    best = max(candidates, key=lambda each: tried[each.name])
    return Chosen(best, fitted[best.name], tried)


def mean_lds(
    data: Data,
    candidate: Candidate,
    fitted: Fitted,
    examples: Sequence[Example],
    kept: Which | None = None,
) -> float:
    """Return LDS under masks for evaluation: mean over sentences, then over examples."""
    found = []
    for example in examples:
        each = _some(data.judging(example, candidate.recipe), example, kept)
        if each is None or not len(each.masks):
            continue
        values = lds(fitted.scores(each.features, each.modalities), each.masks, each.logprobs)
        if not np.isnan(values).all():
            found.append(float(np.nanmean(values)))
    return float(np.mean(found)) if found else float("nan")


def _some(learnt: Learnt, example: Example, kept: Which | None) -> Learnt | None:
    """Leave the other sentences out; None where none is left."""
    if kept is None:
        return learnt
    inside = kept(example)
    if not inside.any():
        return None
    return Learnt(
        learnt.name,
        learnt.features[inside],
        learnt.masks,
        learnt.logprobs[:, inside],
        learnt.modalities,
        learnt.tokens[inside],
    )
