"""Which units to ablate, and what the measured effects say of them.

1. One pass hides all sources. A span none of whose words needs them is done.
2. Units are tried *alone*, all others hidden: what do they give back of what each word lost? That
   is cheap, since what is hidden need not run. All units are tried where the budget allows, else a
   shortlist of each span; where that does not give back half, all units are halved until one is
   left.
3. The span's words are covered by as few units as needed: the one that gives back most, then the
   one that gives back most of what is still missing, and so on. Units that give back nearly as much
   as the chosen one may show the same: they go with it.
4. These are *left out*, one at a time. Where some are missed, the others go. Where none is missed
   much, since one says what another says too, they are left out together, with all of the document
   or medium that the best of them is in.

Changes of a word count above a floor: hiding a document also changes wording and topic a little
everywhere. A unit's effect is the geometric mean of what it alone gives back and what is lost
without it (or, if nothing is, without all that show the same): a text model has words that a unit
makes likelier and does not need, and words that suffer from any change of the prompt; few that are
both come from nowhere.

A unit is *necessary* where at least half of what it gives back is lost without it; of the others
one that alone gives back half of what the span lost is *sufficient*, and what gives back less is
*shared*.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from omnitrace.ablation.cache import Cache
from omnitrace.ablation.measurement import measure
from omnitrace.signals.verified.options import Verify
from omnitrace.types import Effect, EffectKind, SpanEffects

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = ["Search"]

# Found on validation samples of the reference world and development cases of benchmarks/citations.
_WORD: Final = 0.7  # nats by which a word must change, and that are subtracted
_NEEDED: Final = 0.5  # nats that words must lose without any source for units to be ablated
_ALONE: Final = 0.5  # share of the budget for trying units alone
_MORE: Final = 1.0  # nats of the missing words that a further unit must give back
_MORE_SHARE: Final = 0.15  # and their share of what the first one gives back
_ALIKE: Final = 0.85  # share of what the best unit gives back that makes another one like it
_TRIED: Final = 4  # units that are left out for each part of a span
_PARTS: Final = 3  # units that a span rests on, beside those that are like them
_HALF: Final = 0.5


class Search:
    """Measures what the spans of one response lose without units, as cheaply as it can.

    Parameters
    ----------
    scorer, spans:
        The response and its spans.
    ranking:
        float ``[spans, units]``, non-negative: the units that are ablated first score highest.
    options:
        What it may cost.
    """

    def __init__(
        self,
        scorer: ResponseScorer,
        spans: Sequence[Span],
        ranking: np.ndarray,
        options: Verify,
    ) -> None:
        self._scorer = scorer
        self._spans = spans
        self._ranking = ranking
        self._options = options
        self._count = len(scorer.units)
        self._length = int(scorer.embeddings.shape[1])
        self._homes = [
            (unit.locator.message, unit.locator.part, unit.modality) for unit in scorer.source_units
        ]
        self._cache = Cache()
        self._values: dict[bytes, np.ndarray] = {}  # [T] of each mask
        self._full = np.zeros(scorer.tokens)
        self.tokens = 0

    @property
    def passes(self) -> float:
        """What was run, in passes over prompt and response."""
        return self.tokens / self._length

    def run(self) -> list[SpanEffects]:
        """Return the effects of the measured units on each span, and each span's total."""
        self._measure([self._only([])])
        every = range(len(self._spans))
        live = [s for s in every if np.maximum(self._hidden(s), 0).sum() >= _NEEDED]
        tried = self._try_alone(live)
        parts = {s: self._parts(s, units) for s, units in tried.items()}
        unexplained = [s for s in live if self._unexplained(s, parts[s])]
        for s in unexplained:
            parts[s].append(self._order(s)[:_TRIED])
        self._leave_out([part for s in live for part in parts[s]])
        for s in unexplained:  # what acts only with others shows when it is left out
            parts[s][-1] = [k for k in parts[s][-1] if self._missed(s, [k])]
        self._leave_out_together(parts)
        found = [self._effects(s, parts.get(s, [])) for s in every]
        totals = [float(self._hidden(s).sum()) for s in every]
        return [SpanEffects(each, total=total) for each, total in zip(found, totals, strict=True)]

    # Which units are looked at.

    def _try_alone(self, live: Sequence[int]) -> dict[int, list[int]]:
        """Try units alone; return those of each span."""
        tried = self._shortlists(live)
        self._measure(self._only([k]) for k in _union(tried.values()))
        lost = [
            s
            for s, units in tried.items()
            if len(units) < self._count and self._unexplained(s, self._parts(s, units))
        ]
        for s in lost:
            unit = self._by_halves(s)
            if unit is not None and unit not in tried[s]:
                tried[s].append(unit)
        return {s: [k for k in units if self._was_alone(k)] for s, units in tried.items()}

    def _shortlists(self, live: Sequence[int]) -> dict[int, list[int]]:
        """Return each span's units, best first: all, or as many as the budget leaves."""
        left = _ALONE * self._options.budget * self._length - self.tokens
        order = {s: self._order(s) for s in live}
        for length in (self._count, *range(self._options.shortlist, 0, -1)):
            union = _union(units[:length] for units in order.values())
            if sum(self._cost(self._only([k])) for k in union) <= left:
                break
        return {s: units[:length] for s, units in order.items()}

    def _order(self, s: int) -> list[int]:
        ranked: list[int] = np.argsort(-self._ranking[s], kind="stable").tolist()
        return ranked

    def _by_halves(self, s: int) -> int | None:
        """Halve the units until one is left, by what the halves give back; None if that is dear."""
        left = list(range(self._count))
        while len(left) > 1:
            middle = len(left) // 2
            halves = left[:middle], left[middle:]
            self._measure(self._only(half) for half in halves)
            if not all(self._known(self._only(half)) for half in halves):
                return None
            left = max(halves, key=lambda half: _words(self._given_back(s, half)))
        return left[0]

    def _parts(self, s: int, units: Sequence[int]) -> list[list[int]]:
        """Cover the words of a span; return for each part the unit chosen, and those like it."""
        back = {k: self._given_back(s, [k]) for k in units if self._was_alone(k)}
        weight = {k: self._weight(s, k) for k in back}
        covered = np.zeros_like(self._hidden(s))
        parts: list[list[int]] = []
        least = _MORE
        while back and len(parts) < _PARTS:
            gain = {k: _words(each - covered) for k, each in back.items()}
            best = max(gain, key=lambda k: gain[k] * weight[k])
            if gain[best] < least:
                break
            least = max(least, _MORE_SHARE * gain[best])
            worth = _ALIKE * gain[best] * weight[best]
            alike = [k for k in gain if gain[k] * weight[k] >= worth]
            parts.append(sorted(alike, key=lambda k: -gain[k] * weight[k])[:_TRIED])
            covered = np.maximum(covered, np.max([back[k] for k in parts[-1]], axis=0))
        return parts

    def _weight(self, s: int, unit: int) -> float:
        """Return the root of the unit's place in the ranking: a word for what was looked at."""
        strongest = float(self._ranking[s].max()) or 1.0
        return math.sqrt(float(self._ranking[s, unit]) / strongest)

    def _unexplained(self, s: int, parts: Sequence[Sequence[int]]) -> bool:
        """Say whether a span's units leave more than half of what it lost."""
        hidden = self._hidden(s)
        covered = np.zeros_like(hidden)
        for k in itertools.chain(*parts):
            covered = np.maximum(covered, self._given_back(s, [k]))
        return _words(hidden - covered) > _HALF * _words(hidden)

    # Leaving units out.

    def _leave_out(self, parts: Sequence[Sequence[int]]) -> None:
        """Leave units out, the best of each part first."""
        rounds = itertools.zip_longest(*parts)
        units = dict.fromkeys(k for each in rounds for k in each if k is not None)
        self._measure(self._without([k]) for k in units)

    def _leave_out_together(self, parts: dict[int, list[list[int]]]) -> None:
        """Leave out together what may say the same, where one unit alone is hardly missed."""
        self._measure(
            self._without(self._with_siblings(part))
            for s, each in parts.items()
            for part in each
            if part and not self._is_needed(s, part)
        )

    def _with_siblings(self, part: Sequence[int]) -> list[int]:
        """Return units with all that are of the same document or medium as the first of them."""
        best = self._homes[part[0]]
        return sorted({*part, *(k for k in range(self._count) if self._homes[k] == best)})

    def _is_needed(self, s: int, part: Sequence[int]) -> bool:
        """Say whether one unit of a part is missed by half of what it gives back."""
        return any(self._lost(s, [k]) >= _HALF * _words(self._given_back(s, [k])) for k in part)

    def _missed(self, s: int, units: Sequence[int]) -> bool:
        drops = self._drops(s, self._without(units))
        return drops is not None and float(drops.sum()) >= self._options.missed

    # What the measured values say.

    def _effects(self, s: int, parts: Sequence[Sequence[int]]) -> dict[str, Effect]:
        """Return the effects of the units that were left out, strongest first."""
        found: dict[int, Effect] = {}
        for part in parts:
            for k, effect in self._of_part(s, part).items():
                if k not in found or found[k].kind is None:
                    found[k] = effect
        order = sorted(found, key=lambda k: -found[k].value)
        return {self._scorer.units[k]: found[k] for k in order}

    def _of_part(self, s: int, part: Sequence[int]) -> dict[int, Effect]:
        """Return the effects of units that are like each other, with a kind if they support."""
        sums = {k: float(drops.sum()) for k in part if (drops := self._left(s, k)) is not None}
        most = max(sums.values(), default=0.0)
        any_missed = most >= self._options.missed
        together = self._lost(s, self._with_siblings(part)) if part else 0.0
        effects = {}
        for k in part:
            back = _words(self._given_back(s, [k]))
            lost = self._lost(s, [k])
            supports = not any_missed or sums.get(k, 0.0) >= _HALF * most
            value = math.sqrt(back * (max(lost, together) if supports else lost))
            kind = self._kind(s, back, lost) if supports and value > 0 else None
            effects[k] = Effect(value, kind=kind)
        return effects

    def _kind(self, s: int, back: float, lost: float) -> EffectKind:
        if lost >= _HALF * back:
            return "necessary"
        return "sufficient" if back >= _HALF * _words(self._hidden(s)) else "shared"

    def _hidden(self, s: int) -> np.ndarray:
        """Return what each token of a span loses without any source, ``[tokens]``."""
        drops = self._drops(s, self._only([]))
        assert drops is not None
        return drops

    def _given_back(self, s: int, units: Sequence[int]) -> np.ndarray:
        """Return what units alone give back of that, ``[tokens]``."""
        drops = self._drops(s, self._only(units))
        assert drops is not None
        given: np.ndarray = self._hidden(s) - drops
        return given

    def _left(self, s: int, unit: int) -> np.ndarray | None:
        return self._drops(s, self._without([unit]))

    def _lost(self, s: int, units: Sequence[int]) -> float:
        """Return the nats that words lose without units, above the floor; 0 if not measured."""
        drops = self._drops(s, self._without(units))
        return 0.0 if drops is None else _words(drops)

    def _drops(self, s: int, keep: np.ndarray) -> np.ndarray | None:
        """Return what each token of a span loses under a mask, or None if it was not measured."""
        values = self._values.get(keep.tobytes())
        if values is None:
            return None
        inside = slice(self._spans[s].token_start, self._spans[s].token_end)
        drops: np.ndarray = self._full[inside] - values[inside]
        return drops

    # Masks, and running them.

    def _only(self, units: Sequence[int]) -> np.ndarray:
        keep = np.zeros(self._count, dtype=bool)
        keep[list(units)] = True
        return keep

    def _without(self, units: Sequence[int]) -> np.ndarray:
        keep = np.ones(self._count, dtype=bool)
        keep[list(units)] = False
        return keep

    def _known(self, keep: np.ndarray) -> bool:
        return keep.tobytes() in self._values

    def _was_alone(self, unit: int) -> bool:
        return self._known(self._only([unit]))

    def _cost(self, keep: np.ndarray) -> int:
        """Estimate the tokens that run: what is kept from the first that is dropped on."""
        units = self._scorer.source_units
        dropped = [at for k in np.flatnonzero(~keep) for at in units[k].positions]
        return self._length - min(dropped) - len(dropped) if dropped else 0

    def _measure(self, masks: Iterable[np.ndarray]) -> None:
        """Measure masks that are new, the first ones, as many as the budget allows."""
        new = {mask.tobytes(): mask for mask in masks if not self._known(mask)}
        left = self._options.budget * self._length - self.tokens
        while new:
            taken = {}
            for key, mask in new.items():
                cost = self._cost(mask)
                if self._values and cost > left:
                    continue
                taken[key] = mask
                left -= cost
            if not taken:
                return
            effects = measure(
                self._scorer, self._spans, np.stack(list(taken.values())), cache=self._cache
            )
            self.tokens += effects.run_tokens
            self._full = effects.full.astype(np.float64)
            self._values |= dict(zip(taken, effects.tokens.astype(np.float64), strict=True))
            new = {key: mask for key, mask in new.items() if key not in taken}
            left = self._options.budget * self._length - self.tokens


def _words(drops: np.ndarray) -> float:
    return float(np.maximum(drops - _WORD, 0.0).sum())


def _union(lists: Iterable[Iterable[int]]) -> list[int]:
    return sorted({k for units in lists for k in units})
