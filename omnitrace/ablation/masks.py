"""Keep-masks: drawn at random, of one size, leaving one out; and who may use which.

A keep-mask is bool ``[K]``, True where a unit is kept. All drawing is seeded. A method must never
be evaluated on masks that it was fitted on: a :class:`MaskDealer` hands out the masks of one
example such that no mask is ever dealt both for fitting and for evaluation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from omnitrace.ablation.draws import (
    Sized,
    bernoulli,
    checked_rates,
    checked_sizes,
    generator,
    key_of,
)
from omnitrace.ablation.measurement import checked_masks
from omnitrace.errors import InputError

__all__ = [
    "FEWEST",
    "MaskDealer",
    "as_many",
    "generator",
    "leave_one_out",
    "random_masks",
    "sized_masks",
]

#: With fewer masks a correlation of what is measured under them is undefined.
FEWEST: Final = 4

# Up to so many units all masks are listed; beyond, masks are drawn until enough differ.
_LISTED: Final = 12
_PATIENCE: Final = 16  # draws for each requested mask


def leave_one_out(units: int) -> np.ndarray:
    """Return bool ``[K, K]``: row k keeps every unit but k."""
    _check_units(units)
    return ~np.eye(units, dtype=bool)


def random_masks(
    units: int,
    count: int,
    *,
    seed: int | str,
    rates: float | Sequence[float] = 0.5,
    antithetic: bool = True,
) -> np.ndarray:
    """Draw masks in which each unit is kept with a given probability, independently.

    Parameters
    ----------
    units, count:
        Units of the example (``K``, at least 1), and how many masks.
    seed:
        A number or a name; give each example its own, such as its id.
    rates:
        Probability of keeping a unit, in (0, 1). With several, masks take turns.
    antithetic:
        Whether masks come in pairs, each followed by its complement (kept at one
        minus the rate): in the mean of a pair, the part that is linear in the mask has no variance.

    Returns
    -------
    np.ndarray
        bool ``[count, K]``. Masks may repeat.
    """
    _check_units(units)
    rng = generator(seed, "random")
    draw = bernoulli(rng, units, checked_rates(rates))
    found: list[np.ndarray] = []
    while len(found) < _checked_count(count):
        mask = draw()
        found += [mask, ~mask] if antithetic else [mask]
    return _stacked(found[:count], units)


def sized_masks(
    sizes: Sequence[int] | np.ndarray,
    count: int,
    *,
    seed: int | str,
    rate: float = 0.5,
    antithetic: bool = True,
) -> np.ndarray:
    """Draw different masks that all keep the same number of tokens, as nearly as can be.

    Of all masks whose kept tokens differ from ``rate`` of the total by no more than a tolerance,
    each is equally likely; the tolerance is the smallest with four times as many masks as are
    wanted (or, where there are fewer, with as many as wanted). Among such masks the number of kept
    tokens, and a score by length with it, predicts next to nothing.

    Parameters
    ----------
    sizes:
        Tokens of each unit, at least 1 each.
    count:
        How many masks.
    seed, antithetic:
        As for :func:`random_masks`; pairs need a rate of 0.5, and are left out with any other.
    rate:
        Share of the tokens that is kept, in (0, 1).

    Returns
    -------
    np.ndarray
        bool ``[count, K]``, no two equal.

    Raises
    ------
    InputError
        If there are fewer masks than are wanted.
    """
    tokens = checked_sizes(sizes)
    draw = Sized(tokens, checked_rates(rate)[0], 4.0 * count, generator(seed, "sized"))
    found: dict[bytes, np.ndarray] = {}
    for _ in range(_PATIENCE * max(16, count)):
        if len(found) >= count:
            break
        mask = draw()
        for each in (mask, ~mask) if antithetic and rate == 0.5 else (mask,):
            found.setdefault(each.tobytes(), each)
    if len(found) < count:
        raise InputError(
            f"{count} masks of one size are wanted, and {len(found)} were found for "
            f"{len(tokens)} units",
            legal=f"at most {len(found)}",
            fix="ask for fewer, or cut the sources into more units",
        )
    return _stacked(list(found.values())[:count], len(tokens))


class MaskDealer:
    """Deals the masks of one example: some for fitting, others for evaluation, never the same.

    Whether a mask and its complement are for fitting or for evaluation depends on the seed and the
    example alone, so it is the same in every process and in any order. The dealer also remembers
    the masks that it has dealt and those that were noted with :meth:`fitted`: a mask that a method
    was fitted on is refused for evaluation. The masks that keep all or nothing are never dealt.

    Several methods are evaluated on the same masks, so a mask that any of them was fitted on is not
    dealt for evaluation. Masks that depend on a method's scores, such as those of top-k drop,
    evaluate this method alone: :meth:`was_fitted` can be asked about one method.

    Parameters
    ----------
    sizes:
        Tokens of each unit.
    seed:
        Of the experiment.
    example:
        Name of the example; each has masks of its own.
    """

    def __init__(
        self, sizes: Sequence[int] | np.ndarray, *, seed: int = 0, example: str = ""
    ) -> None:
        self.sizes = checked_sizes(sizes)
        self.units = len(self.sizes)
        self._name = f"{seed}/{example}"
        self._fitted: dict[str, set[bytes]] = {"": set()}  # by method, "" for all of them
        self._evaluated: set[bytes] = set()
        self._hands = 0
        self._listed = _halves(self.units, self._name) if self.units <= _LISTED else None

    def fit(
        self,
        count: int,
        *,
        rates: float | Sequence[float] = 0.5,
        antithetic: bool = True,
        by: str = "",
    ) -> np.ndarray:
        """Deal bool ``[count, K]`` for fitting, none of them dealt before.

        Parameters
        ----------
        count, rates, antithetic:
            As for :func:`random_masks`.
        by:
            As for :meth:`fitted`: name of the method that is fitted on them.

        Raises
        ------
        InputError
            If there are not as many left.
        """
        masks = self._deal(count, checked_rates(rates), antithetic, evaluation=False)
        self._fitted.setdefault(by, set()).update(mask.tobytes() for mask in masks)
        return masks

    def evaluation(
        self, count: int, *, rates: float | Sequence[float] = 0.5, antithetic: bool = True
    ) -> np.ndarray:
        """Deal bool ``[count, K]`` for evaluation, none of them dealt before or fitted on."""
        return self._deal(count, checked_rates(rates), antithetic, evaluation=True)

    def sized_evaluation(self, count: int, *, rate: float = 0.5) -> np.ndarray:
        """Deal size-controlled masks for evaluation, bool ``[count, K]``; see ``sized_masks``."""
        share = checked_rates(rate)[0]
        rng = generator(self._name, self._next("sized"))
        # Half of all masks are for fitting, and some are dealt already.
        enough = 3.0 * _checked_count(count)
        while True:
            draw = Sized(self.sizes, share, enough, rng)
            try:
                return self._collect(count, draw, antithetic=share == 0.5, evaluation=True)
            except InputError:
                if enough >= draw.reachable:
                    raise
            enough *= 2

    def fitted(self, masks: np.ndarray, *, by: str = "") -> None:
        """Take note that a method was fitted on bool ``[m, K]`` which the dealer did not deal.

        Parameters
        ----------
        masks:
            The masks.
        by:
            Name of the method; without one they count as every method's.

        Raises
        ------
        InputError
            If one of them was dealt for evaluation.
        """
        for number, mask in enumerate(checked_masks(masks, self.units)):
            if mask.tobytes() in self._evaluated:
                raise InputError(
                    f"mask {number} was dealt for evaluation, and a method was fitted on it",
                    legal="masks of fit(), or masks that were not dealt",
                    fix="fit first, then ask for evaluation masks",
                )
            self._fitted.setdefault(by, set()).add(mask.tobytes())

    def check(self, masks: np.ndarray) -> np.ndarray:
        """Return bool ``[m, K]`` as it is, if no method was ever fitted on any of it.

        Raises
        ------
        InputError
            If a mask was dealt or noted for fitting.
        """
        used = np.flatnonzero(self.was_fitted(masks))
        if len(used):
            raise InputError(
                f"mask {used[0]} was used for fitting, and cannot be used for evaluation",
                legal="masks of evaluation() or sized_evaluation()",
            )
        return masks

    def was_fitted(self, masks: np.ndarray, *, by: str | None = None) -> np.ndarray:
        """Return bool ``[m]``: which of bool ``[m, K]`` were dealt or noted for fitting.

        With ``by`` only masks count that this method was fitted on, or that name no method.
        """
        checked = checked_masks(masks, self.units)
        names = self._fitted.keys() if by is None else {"", by} & self._fitted.keys()
        used = set().union(*(self._fitted[name] for name in names))
        return np.array([mask.tobytes() in used for mask in checked], dtype=bool)

    def is_for_evaluation(self, mask: np.ndarray) -> bool:
        """Whether bool ``[K]`` is among those that may be dealt for evaluation."""
        key = min(mask.tobytes(), (~mask).tobytes())
        if self._listed is not None:
            return key in self._listed
        return hashlib.blake2b(key, key=key_of(self._name)).digest()[0] % 2 == 1

    def _deal(
        self, count: int, rates: Sequence[float], antithetic: bool, *, evaluation: bool
    ) -> np.ndarray:
        rng = generator(self._name, self._next("evaluation" if evaluation else "fit"))
        draw = bernoulli(rng, self.units, rates)
        return self._collect(count, draw, antithetic=antithetic, evaluation=evaluation)

    def _collect(
        self, count: int, draw: Callable[[], np.ndarray], *, antithetic: bool, evaluation: bool
    ) -> np.ndarray:
        found: dict[bytes, np.ndarray] = {}
        for _ in range(_PATIENCE * max(16, _checked_count(count))):
            if len(found) >= count:
                break
            mask = draw()
            for each in (mask, ~mask) if antithetic else (mask,):
                if self._may_deal(each, evaluation):
                    found.setdefault(each.tobytes(), each)
        if len(found) < count:
            what = "evaluation" if evaluation else "fitting"
            raise InputError(
                f"{count} masks of {self.units} units are wanted for {what}, and {len(found)} "
                "were found that are not used yet",
                legal=f"at most {len(found)}",
                fix="ask for fewer, or cut the sources into more units",
            )
        masks = list(found.values())[:count]
        dealt = _stacked(masks, self.units)
        if evaluation:
            self._evaluated.update(mask.tobytes() for mask in masks)
            self.check(dealt)
        return dealt

    def _may_deal(self, mask: np.ndarray, evaluation: bool) -> bool:
        key = mask.tobytes()
        used = key in self._evaluated or any(key in fitted for fitted in self._fitted.values())
        if mask.all() or not mask.any() or used:
            return False
        return self.is_for_evaluation(mask) == evaluation

    def _next(self, what: str) -> str:
        self._hands += 1
        return f"{what} {self._hands}"


def as_many(
    deal: Callable[[int], np.ndarray], count: int, units: int, *, fewest: int = FEWEST
) -> np.ndarray:
    """Deal ``count`` masks; if there are fewer, a half, a quarter, … of this number.

    Parameters
    ----------
    deal:
        Of a :class:`MaskDealer`, such as its ``evaluation``.
    count, units:
        The number of requested masks; units of the example.
    fewest:
        With fewer than this there are none at all.
    """
    while count >= fewest:
        try:
            return deal(count)
        except InputError:
            count //= 2
    return np.zeros((0, units), dtype=bool)


def _halves(units: int, name: str) -> frozenset[bytes]:
    """Return the masks for evaluation, each named by the lesser of it and its complement."""
    numbers = np.arange(2**units)
    masks = (numbers[:, None] >> np.arange(units)) % 2 == 1
    pairs = sorted({min(mask.tobytes(), (~mask).tobytes()) for mask in masks[1:-1]})
    order = generator(name, "halves").permutation(len(pairs))
    return frozenset(pairs[i] for i in order[: len(pairs) // 2])


def _stacked(masks: Sequence[np.ndarray], units: int) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, units), dtype=bool)


def _check_units(units: int) -> None:
    if units < 1:
        raise InputError(f"units is {units!r}", legal="at least 1")


def _checked_count(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise InputError(f"count is {count!r}", legal="a whole number of 0 or more")
    return int(count)
