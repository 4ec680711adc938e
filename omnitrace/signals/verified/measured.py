"""What was measured of a response without some of its units, and measuring more within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from omnitrace.ablation.cache import Cache
from omnitrace.ablation.measurement import measure
from omnitrace.signals.verified.sharing import merged

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = ["Measured", "in_words"]

# Found on validation samples of the reference world and development cases of benchmarks/citations.
_WORD: Final = 0.5  # nats by which a word must change, and that are subtracted


def in_words(drops: np.ndarray) -> float:
    """Return the nats that words lose above a floor, from what each token loses, ``[tokens]``.

    Hiding a document also changes wording and topic a little everywhere.
    """
    return float(np.maximum(drops - _WORD, 0.0).sum())


class Measured:
    """Measures a response under masks, and remembers.

    Parameters
    ----------
    scorer, spans:
        The response and its spans.
    budget:
        The tokens that may be spent. The first mask is measured whatever it costs, and of the
        beginning that masks share only that of the first one is counted ahead, if it is not kept.

    Attributes
    ----------
    count:
        The number of units.
    spans:
        As given.
    """

    def __init__(self, scorer: ResponseScorer, spans: Sequence[Span], budget: float) -> None:
        self.spans = spans
        self.count = len(scorer.units)
        self._scorer = scorer
        self.length = int(scorer.embeddings.shape[1])
        places = [unit.positions for unit in scorer.source_units]
        self._starts = np.array([min(each, default=self.length) for each in places])
        self._sizes = np.array([len(each) for each in places])
        self._budget = budget
        self._tokens = 0
        self._cache = Cache()
        self._values: dict[bytes, np.ndarray] = {}  # [T] of each mask
        self._groups: dict[int, list[int]] = {}  # the units that a unit was shown with
        self._left: dict[tuple[int, bytes], np.ndarray] = {}  # instead of a mask, for a span
        self._full = np.zeros(scorer.tokens)

    @property
    def passes(self) -> float:
        """What was run, in passes over prompt and response."""
        return self._tokens / self.length

    @property
    def sizes(self) -> np.ndarray:
        """int64 ``[units]``: tokens of each unit."""
        return self._sizes

    def left(self, share: float) -> float:
        """Return the tokens that are left of a share of the budget."""
        return share * self._budget - self._tokens

    # Masks. Each keeps some units.

    def only(self, units: Sequence[int]) -> np.ndarray:
        """Return the mask that keeps only these units."""
        keep = np.zeros(self.count, dtype=bool)
        keep[list(units)] = True
        return keep

    def without(self, units: Sequence[int]) -> np.ndarray:
        """Return the mask that keeps all units but these."""
        keep = np.ones(self.count, dtype=bool)
        keep[list(units)] = False
        return keep

    # Measuring.

    def run(self, masks: Iterable[np.ndarray]) -> None:
        """Measure the masks that are new, the first ones, as many as the budget allows."""
        new = {mask.tobytes(): mask for mask in masks if not self.knows(mask)}
        while new:
            left = self._budget - self._tokens
            taken: dict[bytes, np.ndarray] = {}
            for key, mask in new.items():
                cost = self.cost(mask) + (0 if taken else self._before(mask))
                if cost <= left or not self._values:
                    taken[key] = mask
                    left -= cost
            if not taken:
                return
            kept = np.stack(list(taken.values()))
            effects = measure(self._scorer, self.spans, kept, cache=self._cache)
            self._tokens += effects.run_tokens
            self._full = effects.full.astype(np.float64)
            self._values |= dict(zip(taken, effects.tokens.astype(np.float64), strict=True))
            new = {key: mask for key, mask in new.items() if key not in taken}

    def show(self, groups: Iterable[Sequence[int]]) -> None:
        """Measure groups of units alone; no unit is in two."""
        every = [list(group) for group in groups]
        self.run(map(self.only, every))
        self._groups |= {k: group for group in every for k in group if self.knows(self.only(group))}

    def leave_out(
        self, asked: Iterable[tuple[int, Sequence[int]]], apart: Callable[..., bool]
    ) -> None:
        """Leave units out for spans, those of several spans in one pass.

        Parameters
        ----------
        asked:
            Spans, each with units.
        apart:
            Says of two of ``asked`` whether they must not be in one pass.
        """
        new = [each for each in asked if self.lost(*each) is None]
        rows = merged(new, apart)
        masks = [self.without(sorted({k for i in row for k in new[i][1]})) for row in rows]
        self.run(masks)
        self._left |= {
            (new[i][0], self.without(new[i][1]).tobytes()): mask
            for row, mask in zip(rows, masks, strict=True)
            if self.knows(mask)
            for i in row
        }

    def knows(self, keep: np.ndarray) -> bool:
        """Say whether a mask was measured."""
        return keep.tobytes() in self._values

    def cost(self, keep: np.ndarray) -> int:
        """Estimate the tokens that run: what is kept from the first that is dropped on."""
        dropped = ~keep
        if not dropped.any():
            return 0
        return self.length - int(self._starts[dropped].min()) - int(self._sizes[dropped].sum())

    def _before(self, keep: np.ndarray) -> int:
        """Return the tokens before the first that is dropped, which masks share and none keeps."""
        kept = self._scorer.kept
        first = int(self._starts[~keep].min(initial=self.length))
        return max(0, first - (0 if kept is None else kept.length))

    def fits(self, masks: Iterable[np.ndarray], share: float) -> bool:
        """Say whether masks cost at most what is left of a share of the budget."""
        return sum(map(self.cost, masks)) <= self.left(share)

    # What the values say of a span. Arrays are float64 [tokens of the span], in nats.

    def drops(self, s: int, keep: np.ndarray) -> np.ndarray | None:
        """Return what each token of a span loses under a mask, or None if it was not measured."""
        values = self._values.get(keep.tobytes())
        if values is None:
            return None
        inside = slice(self.spans[s].token_start, self.spans[s].token_end)
        drops: np.ndarray = self._full[inside] - values[inside]
        return drops

    def hidden(self, s: int) -> np.ndarray:
        """Return what each token of a span loses without any source; it must be measured."""
        drops = self.drops(s, self.only([]))
        assert drops is not None
        return drops

    def given_back(self, s: int, units: Sequence[int]) -> np.ndarray:
        """Return what units alone give back of that; zeros if it was not measured.

        A unit that was shown in a group only counts for what those of the group do not give back
        that were shown alone.
        """
        drops, hidden = self.drops(s, self.only(units)), self.hidden(s)
        if drops is not None:
            given: np.ndarray = hidden - drops
            return given
        if len(units) != 1 or units[0] not in self._groups:
            return np.zeros_like(hidden)
        group = self._groups[units[0]]
        alone = [
            hidden - each for k in group if (each := self.drops(s, self.only([k]))) is not None
        ]
        whole = self.drops(s, self.only(group))
        assert whole is not None
        rest: np.ndarray = hidden - whole - np.max([np.zeros_like(hidden), *alone], axis=0)
        return rest

    def alone(self, unit: int) -> bool:
        """Say whether a unit was shown without any other."""
        return self.knows(self.only([unit]))

    def group(self, unit: int) -> list[int]:
        """Return the units that a unit was shown with, and itself."""
        return self._groups.get(unit, [unit])

    def lost(self, s: int, units: Sequence[int]) -> np.ndarray | None:
        """Return what each token loses without units, or None if it was not measured.

        With them may have gone what other spans rest on.
        """
        mask = self.without(units)
        return self.drops(s, self._left.get((s, mask.tobytes()), mask))
