"""Options of the fit, and the sums over one span that every fit starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from omnitrace.errors import InputError
from omnitrace.estimator.weights import FitKind

__all__ = ["EVERY", "FitOptions", "SpanGroup"]


#: Steps of Adam between two looks at the left-out examples.
EVERY: Final = 10


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How weights are learnt.

    Attributes
    ----------
    kind:
        One of ``"ridge"``, ``"pearson"``, ``"nnls"``, ``"mlp"``.
    offsets:
        Whether a unit is worth something before its features are known, by its modality; None: yes,
        but for ``"pearson"``, whose recipe has features only.
    penalties:
        Of ridge and nnls, to choose from; they weigh the squares of the weights of features that
        are divided by their spread.
    rates, steps:
        Of pearson: learning rates to choose from, and the most steps.
    lengths:
        Of mlp: numbers of steps to choose from.
    hidden, networks:
        Of mlp: hidden units of a network, and how many networks are averaged.
    noise:
        Nats by which a span's log-probability moves for reasons that no sum over units can predict;
        pearson assumes none. See :func:`usual_noise`.
    folds:
        Parts that the examples are left out in; each part needs an example.
    seed:
        Of the parts, and of where networks start.
    """

    kind: FitKind = "ridge"
    offsets: bool | None = None
    penalties: tuple[float, ...] = tuple(float(f"{10 ** (i / 2):.3g}") for i in range(11))
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03)
    steps: int = 300
    lengths: tuple[int, ...] = (100, 200, 400)
    hidden: int = 32
    networks: int = 3
    noise: float = 1.0
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FitKind):
            raise InputError(f"the fit is {self.kind!r}", legal=", ".join(get_args(FitKind)))
        for name in ("penalties", "rates"):
            values = getattr(self, name)
            if not values or not all(0 < value < float("inf") for value in values):
                raise InputError(f"{name} is {values!r}", legal="numbers above 0, at least one")
        if not 0 <= self.noise < float("inf"):
            raise InputError(f"noise is {self.noise!r}", legal="a number of nats, 0 or more")
        if not self.lengths or min(self.lengths) < EVERY:
            raise InputError(
                f"lengths is {self.lengths!r}", legal=f"numbers of at least {EVERY}, at least one"
            )
        least = {"steps": EVERY, "folds": 2, "hidden": 1, "networks": 1}
        for name, fewest in least.items():
            if getattr(self, name) < fewest:
                raise InputError(f"{name} is {getattr(self, name)}", legal=f"at least {fewest}")

    @property
    def with_offsets(self) -> bool:
        """Whether units have offsets."""
        return self.kind != "pearson" if self.offsets is None else self.offsets


@dataclass(frozen=True, slots=True, eq=False)
class SpanGroup:
    """One span of one example: ``Φ'`` [F', K], ``R`` [r, K], ``V'y`` [K], ``y'y``; its weight."""

    columns: np.ndarray
    root: np.ndarray
    target: np.ndarray
    power: float
    weight: float = 1.0

    def correlations(self, weights: np.ndarray) -> np.ndarray:
        """Return Pearson's of score and target for weights ``[F', n]``; 0 for a constant score."""
        scores = self.columns.T @ weights
        norm = np.sqrt(((self.root @ scores) ** 2).sum(axis=0) * self.power)
        found = self.target @ scores
        zero = np.zeros(len(norm))
        correlation: np.ndarray = np.divide(found, norm, out=zero, where=norm > 0)
        return correlation
