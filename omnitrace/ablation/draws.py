"""How one keep-mask is drawn: unit by unit, or of one size; and from which seed.

Masks are bool ``[K]``. Which of them are handed out, and to whom, is decided in
:mod:`omnitrace.ablation.masks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from omnitrace.errors import InputError

__all__ = ["Sized", "bernoulli", "checked_rates", "checked_sizes", "generator", "key_of"]


def generator(seed: int | str, *names: object) -> np.random.Generator:
    """Return a generator that depends on a seed and names alone, in every process."""
    return np.random.default_rng(list(key_of("/".join(map(str, (seed, *names))))))


def key_of(name: str) -> bytes:
    """Return 32 bytes that depend on a name alone."""
    return hashlib.sha256(name.encode()).digest()


class Sized:
    """Draws masks whose kept tokens are near a target, each of them equally likely.

    They are those within the smallest tolerance that ``enough`` masks are in.
    """

    def __init__(self, sizes: np.ndarray, rate: float, enough: float, rng: np.random.Generator):
        self._sizes, self._rng = sizes, rng
        total = int(sizes.sum())
        # ways[i][s]: in how many ways units i and after sum to s, relative to 2 ** (K - i)
        ways = [np.zeros(total + 1) for _ in range(len(sizes) + 1)]
        ways[-1][0] = 1.0
        for i in range(len(sizes) - 1, -1, -1):
            ways[i] = ways[i + 1] / 2
            ways[i][sizes[i] :] += ways[i + 1][: total + 1 - sizes[i]] / 2
        self._ways = ways
        masks = ways[0] * 2.0 ** min(len(sizes), 1000)
        off = np.abs(np.arange(total + 1) - rate * total)
        order = np.argsort(off, kind="stable")
        reached = np.cumsum(masks[order])
        self.reachable = float(reached[-1])
        wanted = min(enough, self.reachable) * (1 - 1e-9)
        tolerance = off[order[int(np.searchsorted(reached, wanted))]]
        self._sums = np.flatnonzero((off <= tolerance + 1e-9) & (ways[0] > 0))
        weights = ways[0][self._sums]
        self._weights = weights / weights.sum()

    def __call__(self) -> np.ndarray:
        """Return bool ``[K]``."""
        left = int(self._rng.choice(self._sums, p=self._weights))
        mask = np.zeros(len(self._sizes), dtype=bool)
        for i, size in enumerate(self._sizes):
            kept = self._ways[i + 1][left - size] if left >= size else 0.0
            without = self._ways[i + 1][left]
            mask[i] = self._rng.random() * (kept + without) < kept
            left -= int(size) if mask[i] else 0
        return mask


def bernoulli(
    rng: np.random.Generator, units: int, rates: Sequence[float]
) -> Callable[[], np.ndarray]:
    """Return what draws bool ``[units]``, each unit kept at the rates in turns."""
    turn = 0

    def draw() -> np.ndarray:
        nonlocal turn
        turn += 1
        return rng.random(units) < rates[(turn - 1) % len(rates)]

    return draw


def checked_rates(rates: float | Sequence[float]) -> list[float]:
    """Return probabilities of keeping a unit, at least one."""
    found = [float(each) for each in np.atleast_1d(np.asarray(rates, dtype=np.float64))]
    if not found or not all(0 < each < 1 for each in found):
        raise InputError(f"the rate is {rates!r}", legal="numbers above 0 and below 1")
    return found


def checked_sizes(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return int64 ``[K]``, tokens of each unit."""
    found = np.asarray(sizes)
    whole = found.ndim == 1 and len(found) > 0 and np.issubdtype(found.dtype, np.integer)
    if not whole or int(found.min()) < 1:
        raise InputError(f"sizes is {sizes!r}"[:200], legal="a whole number of 1 or more a unit")
    return found.astype(np.int64)
