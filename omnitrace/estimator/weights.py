"""What an estimator has learnt: from features to scores, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np

from omnitrace.estimator.features import with_offsets
from omnitrace.types import Modality

__all__ = ["FitKind", "Fitted", "Network"]

FitKind: TypeAlias = Literal["ridge", "pearson", "nnls", "mlp"]


# Of the approximation of GELU by tanh (Hendrycks & Gimpel 2016, section 2).
_SLOPE: Final = (2 / np.pi) ** 0.5
_CUBIC: Final = 0.044715


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Hidden units that look at one source unit each: ``a·gelu(Bφ + c)``.

    Attributes
    ----------
    inner:
        float64 ``[H, F + 5]``, B: of each hidden unit for each feature and offset.
    bias, outer:
        float64 ``[H]``, c and a.
    """

    inner: np.ndarray
    bias: np.ndarray
    outer: np.ndarray

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """Return float64 ``[..., K]`` for features with offsets, float64 ``[..., F + 5, K]``."""
        hidden = self.inner @ columns + self.bias[:, None]
        gelu = hidden / 2 * (1 + np.tanh(_SLOPE * (hidden + _CUBIC * hidden**3)))
        return np.asarray(self.outer @ gelu)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Weights, and what is known of how good they are.

    Attributes
    ----------
    kind:
        The fit.
    weights:
        float64 ``[F + 5]``: of each feature, then of the offsets (:data:`OFFSETS`). Of mlp only
        that of any unit, the first of the offsets; the rest is the network's.
    covariance:
        float32 ``[F + 5, F + 5]``: of the weights, given the examples; of ridge only.
    noise:
        Spread of a scaled target around its prediction; of ridge only.
    chosen:
        What was chosen: ``penalty``, or ``rate`` and ``steps``, or ``steps``.
    tried:
        For each choice, as text, the mean correlation in examples that were left out.
    network:
        What is added to the weighted features; of mlp only.
    """

    kind: FitKind
    weights: np.ndarray
    covariance: np.ndarray | None = None
    noise: float | None = None
    chosen: dict[str, float] = field(default_factory=dict)
    tried: dict[str, float] = field(default_factory=dict)
    network: Network | None = None

    def scores(self, features: np.ndarray, modalities: Sequence[Modality]) -> np.ndarray:
        """Return float64 ``[..., K]``: what each unit adds, in units of a target's spread.

        ``features`` are ``[..., F, K]``, ``modalities`` those of the K units.
        """
        columns = with_offsets(features.astype(np.float64), modalities)
        found = self.weights @ columns
        return np.asarray(found if self.network is None else found + self.network(columns))

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
