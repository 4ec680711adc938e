"""The paper's fit: climb the mean correlation of predicted and measured log-probability by Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from omnitrace.estimator.fit_options import EVERY, FitOptions, SpanGroup
from omnitrace.estimator.weights import Fitted

__all__ = ["Batch", "climb"]


def climb(folds: Sequence[Sequence[SpanGroup]], scale: np.ndarray, options: FitOptions) -> Fitted:
    """Fit by Adam; learning rate and number of steps are those best for the first fold.

    Weights belong to features divided by ``scale`` while they are learnt; all start alike, which
    makes the first score that of the mean attention.
    """
    filled = [fold for fold in folds if fold]
    everything = _scaled([group for fold in filled for group in fold], scale)
    chosen = {"rate": options.rates[0], "steps": float(options.steps)}
    tried: dict[str, float] = {}
    if len(filled) > 1:
        validation = _scaled(filled[0], scale)
        learning = _scaled([group for fold in filled[1:] for group in fold], scale)
        best = -np.inf
        for rate in options.rates:
            _, seen = _ascend(learning, len(scale), rate, options.steps, validation, every=EVERY)
            steps = int(np.argmax(seen)) + 1
            tried[f"rate {rate:g}, {steps * EVERY} steps"] = seen[steps - 1]
            if seen[steps - 1] > best:
                best = seen[steps - 1]
                chosen = {"rate": rate, "steps": float(steps * EVERY)}
    weights, _ = _ascend(everything, len(scale), chosen["rate"], int(chosen["steps"]), None)
    found = weights.double().numpy() / scale
    return Fitted("pearson", found, chosen=chosen, tried=tried)


def _scaled(groups: Sequence[SpanGroup], scale: np.ndarray) -> Batch:
    batch = Batch(groups)
    batch.columns /= torch.from_numpy(scale.astype(np.float32))
    return batch


def _ascend(
    learning: Batch,
    width: int,
    rate: float,
    steps: int,
    validation: Batch | None,
    *,
    every: int = 1,
) -> tuple[torch.Tensor, list[float]]:
    """Return the weights ``[F']``, and the correlation of ``validation`` every few steps."""
    seen: list[float] = []
    with torch.inference_mode(False), torch.enable_grad():
        weights = torch.full((width,), 1.0 / width, requires_grad=True)
        adam = torch.optim.Adam([weights], lr=rate)
        for step in range(1, steps + 1):
            adam.zero_grad()
            (-learning.correlations(learning.columns @ weights).mean()).backward()  # type: ignore[no-untyped-call]
            adam.step()
            if validation is not None and step % every == 0:
                with torch.no_grad():
                    found = validation.correlations(validation.columns @ weights)
                    seen.append(float(found.mean()))
    return weights.detach(), seen


_TINY: Final = 1e-12


class Batch:
    """Groups (:class:`~omnitrace.estimator.fit_options.SpanGroup`), their units one after another.

    Parameters
    ----------
    groups:
        At least one.

    Attributes
    ----------
    columns:
        float32 ``[n, F']``: features of the units, group by group.
    weights:
        float32 ``[groups]``.
    """

    def __init__(self, groups: Sequence[SpanGroup]) -> None:
        units = max(len(group.target) for group in groups)
        rows = max(len(group.root) for group in groups)
        roots = np.zeros((len(groups), rows, units), dtype=np.float32)
        targets = np.zeros((len(groups), units), dtype=np.float32)
        places = []
        for number, group in enumerate(groups):
            own = len(group.target)
            roots[number, : len(group.root), :own] = group.root
            targets[number, :own] = group.target
            places.append(number * units + np.arange(own))
        columns = np.concatenate([group.columns.T for group in groups]).astype(np.float32)
        self.columns = torch.from_numpy(columns)
        self.weights = torch.tensor([group.weight for group in groups], dtype=torch.float32)
        self._roots, self._targets = torch.from_numpy(roots), torch.from_numpy(targets)
        self._norms = torch.tensor([group.power**0.5 for group in groups], dtype=torch.float32)
        self._places = torch.from_numpy(np.concatenate(places))

    def correlations(self, scores: torch.Tensor) -> torch.Tensor:
        """Return Pearson's correlation of score and target in each group.

        Parameters
        ----------
        scores:
            float32 ``[n]``, of each unit.

        Returns
        -------
        torch.Tensor
            float32 ``[groups]``.
        """
        flat = torch.zeros(self._targets.numel()).index_put((self._places,), scores)
        filled = flat.view(self._targets.shape)
        spread = (self._roots @ filled[:, :, None])[:, :, 0].square().sum(dim=1)
        found = (filled * self._targets).sum(dim=1)
        return found / ((spread + _TINY).sqrt() * self._norms)
