"""Spans of many examples as tensors, for fits that climb their correlations step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

if TYPE_CHECKING:
    from omnitrace.estimator.fit import Group

__all__ = ["Batch"]

_TINY: Final = 1e-12


class Batch:
    """Groups (:class:`~omnitrace.estimator.fit.Group`), whose units lie one after another.

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

    def __init__(self, groups: Sequence[Group]) -> None:
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
