"""The paper's fit: climb the mean correlation of predicted and measured log-probability by Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from omnitrace.estimator.weights import Fitted

if TYPE_CHECKING:
    from omnitrace.estimator.fit import FitOptions, Group

__all__ = ["climb"]


_TINY: Final = 1e-12


class _Batch:
    """Groups with as many units each, filled up with units of no feature."""

    def __init__(self, groups: Sequence[Group], scale: np.ndarray) -> None:
        units = max(group.columns.shape[1] for group in groups)
        rows = max(len(group.root) for group in groups)
        count = len(groups)
        columns = np.zeros((count, units, len(scale)), dtype=np.float32)
        roots = np.zeros((count, rows, units), dtype=np.float32)
        targets = np.zeros((count, units), dtype=np.float32)
        for i, group in enumerate(groups):
            own = group.columns.shape[1]
            columns[i, :own] = group.columns.T / scale
            roots[i, : len(group.root), :own] = group.root
            targets[i, :own] = group.target
        self._columns, self._roots, self._targets = map(torch.from_numpy, (columns, roots, targets))
        self._norms = torch.tensor([group.power**0.5 for group in groups], dtype=torch.float32)

    def correlation(self, weights: torch.Tensor) -> torch.Tensor:
        """Return Pearson's correlation of each group, ``[groups]``."""
        scores = self._columns @ weights
        spread = (self._roots @ scores[:, :, None])[:, :, 0].square().sum(dim=1)
        found = (scores * self._targets).sum(dim=1)
        return found / ((spread + _TINY).sqrt() * self._norms)


def climb(folds: Sequence[Sequence[Group]], scale: np.ndarray, options: FitOptions) -> Fitted:
    """Fit by Adam; learning rate and number of steps are those best for the first fold.

    Weights belong to features divided by ``scale`` while they are learnt; all start alike, which
    makes the first score that of the mean attention.
    """
    from omnitrace.estimator.fit import EVERY

    filled = [fold for fold in folds if fold]
    everything = _Batch([group for fold in filled for group in fold], scale)
    chosen = {"rate": options.rates[0], "steps": float(options.steps)}
    tried: dict[str, float] = {}
    if len(filled) > 1:
        judging = _Batch(filled[0], scale)
        learning = _Batch([group for fold in filled[1:] for group in fold], scale)
        best = -np.inf
        for rate in options.rates:
            _, seen = _ascend(learning, len(scale), rate, options.steps, judging, every=EVERY)
            steps = int(np.argmax(seen)) + 1
            tried[f"rate {rate:g}, {steps * EVERY} steps"] = seen[steps - 1]
            if seen[steps - 1] > best:
                best = seen[steps - 1]
                chosen = {"rate": rate, "steps": float(steps * EVERY)}
    weights, _ = _ascend(everything, len(scale), chosen["rate"], int(chosen["steps"]), None)
    found = weights.double().numpy() / scale
    return Fitted("pearson", found, chosen=chosen, tried=tried)


def _ascend(
    learning: _Batch, width: int, rate: float, steps: int, judging: _Batch | None, *, every: int = 1
) -> tuple[torch.Tensor, list[float]]:
    """Return the weights ``[F']``, and the correlation of ``judging`` every few steps."""
    seen: list[float] = []
    with torch.inference_mode(False), torch.enable_grad():
        weights = torch.full((width,), 1.0 / width, requires_grad=True)
        adam = torch.optim.Adam([weights], lr=rate)
        for step in range(1, steps + 1):
            adam.zero_grad()
            (-learning.correlation(weights).mean()).backward()  # type: ignore[no-untyped-call]
            adam.step()
            if judging is not None and step % every == 0:
                with torch.no_grad():
                    seen.append(float(judging.correlation(weights).mean()))
    return weights.detach(), seen
