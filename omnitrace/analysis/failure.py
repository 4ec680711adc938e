"""How early trajectories predict that a response will be wrong.

The question of vSTREAM's project page ("Analysis": "Tortuosity-based failure prediction reaches AUC
0.69 by 30% of elapsed reasoning"): of a wrong and a right response, how often has the wrong one the
larger figure, when a share of the response is written? The page does not say how; here a figure is
measured on the steps that have ended by then, with PCA fitted to these alone, nothing is trained,
and the elapsed share is of the tokens of the finished response, which is known afterwards only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from omnitrace.analysis.trajectories import FIGURES, Steps, trajectory
from omnitrace.errors import InputError
from omnitrace.evaluation.metrics.agreement import auroc
from omnitrace.evaluation.metrics.bootstrap import Estimate, bootstrap

__all__ = ["SHARES", "Prediction", "predict_failure"]

#: Elapsed shares at which failure is predicted, unless others are asked for.
SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well one figure separates wrong responses from right ones, at one elapsed share.

    ``auc`` is the chance that a wrong response has the larger figure (ties: one half), with its
    bootstrap interval over responses; 0.5 is chance. ``wrong`` and ``right`` count the
    responses of which the figure is defined, ``undefined`` the others, which are left out.
    """

    figure: str
    elapsed: float
    auc: Estimate
    wrong: int
    right: int
    undefined: int

    def figures(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return dataclasses.asdict(self) | {"auc": self.auc.figures()}


def predict_failure(
    steps: Sequence[Steps],
    right: Sequence[bool],
    *,
    shares: Sequence[float] = SHARES,
    figures: Sequence[str] = FIGURES,
    draws: int = 1000,
    seed: int = 0,
) -> list[Prediction]:
    """Predict failure from the beginnings of responses.

    Parameters
    ----------
    steps:
        Of each response, as :func:`~omnitrace.analysis.trajectories.steps_of` gives them.
    right:
        Whether each response is right.
    shares:
        Elapsed shares, in (0, 1].
    figures:
        Which figures predict; of :data:`~omnitrace.analysis.trajectories.FIGURES`.
    draws, seed:
        Of the bootstrap over responses.

    Returns
    -------
    list of Prediction
        For each share, in order, one for each figure.

    Raises
    ------
    InputError
        If there is not one outcome a response, or not both right and wrong ones; if a share or a
        figure is not legal.
    """
    if len(steps) != len(right):
        raise InputError(f"{len(right)} outcomes for {len(steps)} responses", legal="one of each")
    if len(set(map(bool, right))) < 2:
        what = "right" if right and right[0] else "wrong"
        raise InputError(
            f"all of {len(right)} responses are {what}" if right else "there are no responses",
            legal="both right and wrong responses",
        )
    for share in shares:
        if not 0 < share <= 1:
            raise InputError(f"an elapsed share of {share}", legal="more than 0 and at most 1")
    for figure in figures:
        if figure not in FIGURES:
            raise InputError(f"there is no figure {figure!r}", legal=", ".join(FIGURES))
    wrong = ~np.asarray(right, dtype=bool)
    found = []
    for share in shares:
        reached = [trajectory(each.until(share)) for each in steps]
        for figure in figures:
            values = [getattr(each, figure) for each in reached]
            found.append(_predicted(figure, share, values, wrong, draws, seed))
    return found


def _predicted(
    figure: str,
    share: float,
    values: Sequence[float | None],
    wrong: np.ndarray,
    draws: int,
    seed: int,
) -> Prediction:
    defined = np.array([value is not None for value in values], dtype=bool)
    scores = np.array([value for value in values if value is not None], dtype=float)
    truth = wrong[defined]
    auc = bootstrap(
        len(scores), lambda drawn: auroc(scores[drawn], truth[drawn]), draws=draws, seed=seed
    )
    return Prediction(
        figure=figure,
        elapsed=share,
        auc=auc,
        wrong=int(truth.sum()),
        right=int((~truth).sum()),
        undefined=int((~defined).sum()),
    )
