"""Four ways to learn what features are worth from measured log-probabilities.

Of the spans of all examples together, a *group* is one span of one example. With ``φ_k ∈ R^F`` the
features of unit k for the span, the score of a mask v is the sum over the kept units,
``Σ_k v_k w·φ_k``, or ``Σ_k v_k g(φ_k)`` with mlp; it is to predict the span's log-probability
``f(v)``. Masks and targets are centred in each group, and targets divided by their spread s there,
so that no span outweighs another; except for those that masks hardly move, which show more noise
than sources: a group weighs ``s² / (s² + noise²)``, except in pearson. With the centred masks
``V = Q R`` and the centred, scaled targets y, everything that is needed of a group is ``R Φ`` and
``Φ V'y``, however many masks there were.

- ``ridge``: least squares with a penalty, in closed form, from one ``F x F`` system that every
  example is added to; with the posterior of a Gaussian prior (Hoerl & Kennard 1970; Bishop 2006,
  section 3.3).
- ``nnls``: the same with weights that are not negative (Lawson & Hanson 1974).
- ``pearson``: vSTREAM's recipe (arXiv 2604.16587): the mean Pearson correlation of score
  and target is climbed by Adam.
- ``mlp``: the same climb by a small network for each unit (:mod:`omnitrace.estimator.mlp`).

Penalty, or learning rate and number of steps, are those that predict left-out examples best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy.linalg
import scipy.optimize

from omnitrace.ablation.masks import generator
from omnitrace.errors import InputError
from omnitrace.estimator.examples import Example
from omnitrace.estimator.features import OFFSETS, FeatureRecipe, with_offsets
from omnitrace.estimator.fit_options import FitOptions, SpanGroup
from omnitrace.estimator.weights import Fitted

__all__ = ["fit_weights", "usual_noise"]


_ROWS: Final = 4096  # of R Φ that are multiplied at once


def usual_noise(recipe: FeatureRecipe) -> float:
    """Return the noise of a fit for these features: 1 nat, or 0 where they depend on the words.

    What masks do to a span that they hardly move is noise to attention alone. Features of
    gradients predict it, and then all spans count alike (docs/explanation/estimator.md, "How it
    learns").
    """
    return 0.0 if recipe.knows_words else 1.0


def _groups(example: Example, options: FitOptions) -> Iterator[SpanGroup]:
    """Yield the spans of an example whose log-probability the masks change."""
    masks = example.masks - example.masks.mean(axis=0)
    root = np.asarray(np.linalg.qr(masks, mode="r"))
    targets = example.logprobs - example.logprobs.mean(axis=0)
    spread = np.sqrt((targets**2).mean(axis=0))
    every = example.features.astype(np.float64)
    every = with_offsets(every, example.modalities) if options.with_offsets else every
    for columns, target, scale in zip(every, targets.T, spread, strict=True):
        if scale > 1e-9:
            weight = float(scale**2 / (scale**2 + options.noise**2))
            yield SpanGroup(columns, root, masks.T @ target / scale, float(len(masks)), weight)


@dataclass(slots=True, eq=False)
class _System:
    """The normal equations of some examples: ``X'X``, ``X'y``, ``y'y``, and the rows in them."""

    matrix: np.ndarray
    right: np.ndarray
    power: float = 0.0
    rows: float = 0.0

    @classmethod
    def of(cls, examples: Sequence[Example], width: int, options: FitOptions) -> _System:
        found = cls(np.zeros((width, width)), np.zeros(width))
        waiting: list[np.ndarray] = []
        for example in examples:
            for group in _groups(example, options):
                found.right += group.weight * (group.columns @ group.target)
                found.power += group.weight * group.power
                found.rows += group.weight * (len(example.masks) - 1)
                waiting.append(group.weight**0.5 * (group.root @ group.columns.T))
            if sum(map(len, waiting)) >= _ROWS:
                found._add(waiting)
        found._add(waiting)
        return found

    def _add(self, waiting: list[np.ndarray]) -> None:
        if waiting:
            rows = np.concatenate(waiting)
            self.matrix += rows.T @ rows
            waiting.clear()

    def plus(self, others: Sequence[_System]) -> _System:
        """Return the sum of this system and others."""
        found = _System(self.matrix.copy(), self.right.copy(), self.power, self.rows)
        for each in others:
            found.matrix += each.matrix
            found.right += each.right
            found.power += each.power
            found.rows += each.rows
        return found

    def scaled(self, scale: np.ndarray) -> _System:
        """Return the system of features that are divided by ``scale``."""
        return _System(
            self.matrix / np.outer(scale, scale), self.right / scale, self.power, self.rows
        )

    def penalised(self, penalty: float) -> np.ndarray:
        """Return ``X'X + λ I``, in the order of LAPACK, which then may overwrite it."""
        matrix = self.matrix.copy().T  # symmetric
        matrix[np.diag_indices_from(matrix)] += penalty
        return matrix


def fit_weights(examples: Sequence[Example], options: FitOptions | None = None) -> Fitted:
    """Learn weights from examples.

    Parameters
    ----------
    examples:
        At least two, all with the same number of features.
    options:
        How.

    Raises
    ------
    InputError
        If there are too few examples, they differ in their features, or no mask changes anything.
    """
    given = options or FitOptions()
    width = _checked(examples)
    order = generator(given.seed, "folds").permutation(len(examples))
    folds = [
        [examples[i] for i in sorted(order[part :: given.folds])]
        for part in range(min(given.folds, len(examples)))
    ]
    columns = width + (len(OFFSETS) if given.with_offsets else 0)
    systems = [_System.of(fold, columns, given) for fold in folds]
    whole = systems[0].plus(systems[1:])
    if not whole.rows:
        raise InputError(
            "no mask changes the log-probability of any span",
            legal="responses that use the sources",
        )
    # The spread of centred columns. Constant ones (a modality that never occurs) keep weight 0.
    spread = np.sqrt(np.diag(whole.matrix) / whole.rows)
    scale = np.where(spread > 1e-12, spread, 1.0)
    if given.kind in ("pearson", "mlp"):
        grouped = [[g for each in fold for g in _groups(each, given)] for fold in folds]
        found = _climbed(grouped, scale, given)
    else:
        found = _closed(folds, [each.scaled(scale) for each in systems], scale, given)
    return _widened(found, width)


def _checked(examples: Sequence[Example]) -> int:
    if len(examples) < 2:
        raise InputError(
            f"{len(examples)} examples to learn from", legal="at least 2; 100 or more for use"
        )
    widths = sorted({example.features.shape[1] for example in examples})
    if len(widths) > 1:
        raise InputError(
            f"examples have {' and '.join(map(str, widths))} features",
            legal="examples of one model and one recipe",
        )
    return int(widths[0])


def _climbed(
    grouped: Sequence[Sequence[SpanGroup]], scale: np.ndarray, options: FitOptions
) -> Fitted:
    """Fit step by step; torch, which closed forms do without, is loaded for it."""
    if options.kind == "mlp":
        from omnitrace.estimator.mlp import climb_networks

        return climb_networks(grouped, options)
    from omnitrace.estimator.adam import climb

    return climb(grouped, scale, options)


def _closed(
    folds: Sequence[Sequence[Example]],
    systems: Sequence[_System],
    scale: np.ndarray,
    options: FitOptions,
) -> Fitted:
    """Choose the penalty on examples that are left out, then solve with all of them."""
    solve = _ridge if options.kind == "ridge" else _non_negative
    quality = np.zeros(len(options.penalties))
    # Weights that are not negative have no closed form: one part must do.
    parts = folds if options.kind == "ridge" else folds[:1]
    for left_out, fold in enumerate(parts):
        others = [each for number, each in enumerate(systems) if number != left_out]
        system = others[0].plus(others[1:])
        tried = [solve(system, penalty) / scale for penalty in options.penalties]
        quality += _quality(fold, np.stack(tried, axis=1), options)
    quality /= sum(map(len, parts))
    # Of equally good ones the largest: it is the most careful.
    best = max(range(len(quality)), key=lambda i: (quality[i], options.penalties[i]))
    penalty = options.penalties[best]
    whole = systems[0].plus(systems[1:])
    weights = solve(whole, penalty)
    names = [f"penalty {each:g}" for each in options.penalties]
    tried_all = dict(zip(names, map(float, quality), strict=True))
    chosen = {"penalty": penalty}
    if options.kind != "ridge":
        return Fitted(options.kind, weights / scale, chosen=chosen, tried=tried_all)
    covariance, noise = _posterior(whole, weights, penalty)
    covariance = (covariance / np.outer(scale, scale)).astype(np.float32)
    return Fitted("ridge", weights / scale, covariance, noise, chosen, tried_all)


def _quality(fold: Sequence[Example], weights: np.ndarray, options: FitOptions) -> np.ndarray:
    """Return the sum over examples of the mean correlation over spans, for ``[F', n]`` weights."""
    total = np.zeros(weights.shape[1])
    for example in fold:
        found = [group.correlations(weights) for group in _groups(example, options)]
        total += np.mean(found, axis=0) if found else 0.0
    return total


def _ridge(system: _System, penalty: float) -> np.ndarray:
    factor = scipy.linalg.cho_factor(system.penalised(penalty), overwrite_a=True)
    return np.asarray(scipy.linalg.cho_solve(factor, system.right))


def _non_negative(system: _System, penalty: float) -> np.ndarray:
    """Solve ``min |X w - y|² + λ |w|², w >= 0`` from the normal equations."""
    root = scipy.linalg.cholesky(system.penalised(penalty))
    right = scipy.linalg.solve_triangular(root, system.right, trans="T")
    return np.asarray(scipy.optimize.nnls(root, right)[0])


def _posterior(system: _System, weights: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Return the covariance of ridge weights and the noise of a target.

    ``Σ = σ² (X'X + λI)⁻¹`` with ``σ² = |y - Xw|² / (n - tr(X (X'X + λI)⁻¹ X'))``.
    """
    factor = scipy.linalg.cho_factor(system.penalised(penalty), overwrite_a=True)
    inverse = scipy.linalg.cho_solve(factor, np.eye(len(weights)))
    used = len(weights) - penalty * float(np.trace(inverse))
    left = system.power - 2 * weights @ system.right + weights @ system.matrix @ weights
    variance = max(float(left), 0.0) / max(system.rows - used, 1.0)
    covariance = variance * (inverse + inverse.T) / 2
    return covariance, float(np.sqrt(variance))


def _widened(found: Fitted, width: int) -> Fitted:
    """Give a fit without offsets weights of 0 for them."""
    missing = width + len(OFFSETS) - len(found.weights)
    weights = np.pad(found.weights, (0, missing))
    covariance = found.covariance
    if covariance is not None:
        covariance = np.pad(covariance, (0, missing))
    network = found.network
    if network is not None:
        network = replace(network, inner=np.pad(network.inner, ((0, 0), (0, missing))))
    return replace(found, weights=weights, covariance=covariance, network=network)
