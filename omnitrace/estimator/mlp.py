"""A fit that is not linear in the features: a small network for one unit, summed over the units.

The score of a unit is ``w + a·gelu(Bφ + c)`` (:class:`~omnitrace.estimator.weights.Network`) of its
own features and modality alone, so that the score of a mask is still a sum over the units that it
keeps: an attribution. It can say what a weight a head cannot: that a head counts only where another
one agrees, or for one modality, and that a share of one half is not worth half a whole one.

The mean correlation of score and target is climbed, as by vSTREAM's recipe, with the weights of
groups that ridge has, by AdamW with one cycle of the learning rate (Smith & Topin 2019), and with
dropout of hidden units. The length of the cycle is the one best for left-out examples. Several
networks that start from other numbers are averaged; as their scores are sums over hidden units, one
network of all hidden units is what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from omnitrace.ablation.masks import generator
from omnitrace.estimator.adam import Batch
from omnitrace.estimator.features import OFFSETS
from omnitrace.estimator.fit_options import FitOptions, SpanGroup
from omnitrace.estimator.weights import Fitted, Network

__all__ = ["climb_networks"]

# What did best on validation requests of the reference world.
_RATE: Final = 3e-3  # the highest of the cycle
_DECAY: Final = 0.03
_DROPOUT: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Parameters:
    """``B`` [H, F'], ``c`` [H], ``a`` [H] for standardised features; ``w`` [1] of any unit."""

    inner: torch.Tensor
    bias: torch.Tensor
    outer: torch.Tensor
    offset: torch.Tensor

    @classmethod
    def drawn(cls, width: int, options: FitOptions, draws: torch.Generator) -> _Parameters:
        """Draw where to start, as ``torch.nn.Linear`` does."""
        hidden = options.hidden

        def uniform(*shape: int, inputs: int) -> torch.Tensor:
            drawn = torch.empty(shape).uniform_(-1, 1, generator=draws).div_(inputs**0.5)
            drawn.requires_grad_()
            return drawn

        return cls(
            uniform(hidden, width, inputs=width),
            uniform(hidden, inputs=width),
            uniform(hidden, inputs=hidden),
            uniform(1, inputs=hidden) if options.with_offsets else torch.zeros(1),
        )

    def all(self) -> list[torch.Tensor]:
        """Return them in their order."""
        return [self.inner, self.bias, self.outer, self.offset]

    def scores(self, columns: torch.Tensor, draws: torch.Generator | None = None) -> torch.Tensor:
        """Return ``[n]`` for features ``[n, F']``; with ``draws`` some hidden units are dropped."""
        hidden = torch.nn.functional.gelu(columns @ self.inner.T + self.bias, approximate="tanh")
        if draws is not None:
            kept = torch.rand(hidden.shape, generator=draws) >= _DROPOUT
            hidden = hidden * kept / (1 - _DROPOUT)
        return hidden @ self.outer + self.offset


def climb_networks(folds: Sequence[Sequence[SpanGroup]], options: FitOptions) -> Fitted:
    """Fit networks; they train as long as one does that is best for the first fold.

    Parameters
    ----------
    folds:
        Groups of parts of the examples; at least one has a group.
    options:
        Its ``hidden``, ``networks``, ``lengths``, ``offsets`` and ``seed`` apply.
    """
    filled = [fold for fold in folds if fold]
    chosen = options.lengths[0]
    tried: dict[int, float] = {}
    if len(filled) > 1 and len(options.lengths) > 1:
        validation = Batch(filled[0])
        learning = Batch([group for fold in filled[1:] for group in fold])
        for length in options.lengths:
            weights, network = _trained(learning, length, 1, options)
            scores = _of(validation.columns, weights, network)
            tried[length] = float(validation.correlations(scores).mean())
        # Of equally good ones the shortest: it is the most careful.
        chosen = max(tried, key=lambda length: (tried[length], -length))
    everything = Batch([group for fold in filled for group in fold])
    weights, network = _trained(everything, chosen, options.networks, options)
    return Fitted(
        "mlp",
        weights,
        network=network,
        chosen={"steps": float(chosen)},
        tried={f"{length} steps": value for length, value in tried.items()},
    )


def _of(columns: torch.Tensor, weights: np.ndarray, network: Network) -> torch.Tensor:
    rows = columns.double().numpy().T
    return torch.from_numpy(weights @ rows + network(rows)).float()


def _trained(
    batch: Batch, steps: int, networks: int, options: FitOptions
) -> tuple[np.ndarray, Network]:
    """Train networks; return the linear part ``[F']``, and all of their hidden units."""
    seen = batch.columns.double()
    centre, spread = seen.mean(dim=0), seen.std(dim=0, correction=0)
    still = spread <= 1e-9 * centre.abs()  # the same for all units: it says nothing
    scale = torch.where(still, torch.inf, spread)
    columns = ((seen - centre) / scale).float()
    found = [_climb(batch, columns, steps, number, options) for number in range(networks)]
    inner, bias, outer, offset = (
        np.concatenate([each.all()[part].detach().double().numpy() for each in found])
        for part in range(4)
    )
    inner = inner / scale.numpy()
    network = Network(inner, bias - inner @ centre.numpy(), outer / networks)
    weights = np.zeros(columns.shape[1])
    if options.with_offsets:
        weights[-len(OFFSETS)] = offset.mean()
    return weights, network


def _climb(
    batch: Batch, columns: torch.Tensor, steps: int, number: int, options: FitOptions
) -> _Parameters:
    """Train one network."""
    seed = int(generator(options.seed, "network", number).integers(2**62))
    draws = torch.Generator().manual_seed(seed)
    total = batch.weights.sum()
    with torch.inference_mode(False), torch.enable_grad():
        network = _Parameters.drawn(columns.shape[1], options, draws)
        learnt = [each for each in network.all() if each.requires_grad]
        adam = torch.optim.AdamW(learnt, lr=_RATE, weight_decay=_DECAY)
        cycle = torch.optim.lr_scheduler.OneCycleLR(adam, _RATE, total_steps=steps)
        for _ in range(steps):
            adam.zero_grad()
            found = batch.correlations(network.scores(columns, draws))
            (-(batch.weights * found).sum() / total).backward()  # type: ignore[no-untyped-call]
            adam.step()
            cycle.step()
    return network
