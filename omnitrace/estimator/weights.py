"""The weights of an estimator: from features to scores, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from omnitrace.estimator.features import with_offsets
from omnitrace.types import Modality

__all__ = ["FitKind", "Fitted"]

FitKind: TypeAlias = Literal["ridge", "pearson", "nnls"]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Weights, and what is known of how good they are.

    Attributes
    ----------
    kind:
        The fit.
    weights:
        float64 ``[F + 5]``: of each feature, then of the offsets (:data:`OFFSETS`).
    covariance:
        float32 ``[F + 5, F + 5]``: of the weights, given the examples; of ridge only.
    noise:
        Spread of a scaled target around its prediction; of ridge only.
    chosen:
        What was chosen: ``penalty``, or ``rate`` and ``steps``.
    tried:
        For each choice, as text, the mean correlation in examples that were left out.
    """

    kind: FitKind
    weights: np.ndarray
    covariance: np.ndarray | None = None
    noise: float | None = None
    chosen: dict[str, float] = field(default_factory=dict)
    tried: dict[str, float] = field(default_factory=dict)

    def scores(self, features: np.ndarray, modalities: Sequence[Modality]) -> np.ndarray:
        """Return float64 ``[..., K]``: what each unit adds, in units of a target's spread.

        ``features`` are ``[..., F, K]``, ``modalities`` those of the K units.
        """
        return np.asarray(self.weights @ with_offsets(features.astype(np.float64), modalities))

    def spreads(self, features: np.ndarray, modalities: Sequence[Modality]) -> np.ndarray:
        """Return float64 ``[..., K]``: the predictive standard deviation of :meth:`scores`.

        ``sqrt(φ'Σφ + σ²)``; 1 for every unit where the fit has no posterior.
        """
        columns = with_offsets(features.astype(np.float64), modalities)
        if self.covariance is None or self.noise is None:
            return np.ones((*columns.shape[:-2], columns.shape[-1]))
        variance = np.einsum(
            "...fk,fg,...gk->...k", columns, self.covariance, columns, optimize=True
        )
        return np.asarray(np.sqrt(np.maximum(variance, 0.0) + self.noise**2))
