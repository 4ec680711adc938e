"""Which units to ablate, and what the measured effects say of them.

The units are in groups: each medium is one, all texts together are another. With all sources
hidden a span loses its *total*; with a group hidden, the group's effect. Then

- of a **text** group, each unit of the shortlist is tried alone: what does it give back of the
  group's effect? Where none gives back half, the group is halved until one unit is left. The best
  are then left out, one at a time. A unit counts by the mean of what it gives back alone and what
  is lost without it, at words that change by more than a floor: hiding a document also changes
  wording and topic a little everywhere, and a text model needs no unit for what another says too.
- of a **medium**, each unit of the shortlist is left out; where none is missed, as with what stands
  still for several seconds, each is tried alone.

A unit that is missed is *necessary* (of a text, where at least half as much is lost without it as
it alone gives back); of the others one that alone gives back half of the group's effect is
*sufficient*, and what gives back less is *shared*. Text comes the other way round because a text
alone is a short prompt, and a document left out is still a long one.
"""

from __future__ import annotations

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
_GROUP_FLOOR: Final = 0.3  # nats that a group must cost to be looked into
_GROUP_SHARE: Final = 0.25  # and its share of the dearest group's
_ALIKE: Final = 0.5  # a unit's share of the largest effect in its group to count beside it
_TEXT_ALIKE: Final = 0.3  # the same for text units
_ALONE_ALIKE: Final = 0.3  # the same for what units give back alone
_HALF: Final = 0.5  # share of a group's effect that makes a unit sufficient
_WORD: Final = 0.7  # nats by which a word must change, and that are subtracted, in text
_TRIED: Final = 4  # units of a text group that are left out for one span
_LOOKED_INTO: Final = 0.5  # nats that words must lose without any source for units to be ablated


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
        self._groups = _groups_of(scorer)
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
        nothing = np.zeros(self._count, dtype=bool)
        self._measure([nothing])
        totals = [self._drop(s, nothing) for s in range(len(self._spans))]
        live = [s for s in range(len(self._spans)) if self._is_live(s, nothing)]
        found: list[dict[str, Effect]] = [{} for _ in self._spans]
        if live:
            shortlists = self._shortlists(live)
            self._measure(self._without_groups(shortlists))
            wanted = self._groups_that_matter(live, shortlists)
            for group in sorted({group for _, group in wanted}):
                spans = [s for s, each in wanted if each == group]
                on = {s: [k for k in shortlists[s] if self._groups[k] == group] for s in spans}
                judge = self._text if self._is_text(group) else self._medium
                for s, effects in judge(group, on).items():
                    found[s] |= {self._scorer.units[k]: each for k, each in effects.items()}
        return [SpanEffects(each, total=total) for each, total in zip(found, totals, strict=True)]

    def _is_live(self, s: int, nothing: np.ndarray) -> bool:
        """Say whether some words need the sources, even if others are likelier without them."""
        words = float(np.maximum(self._drops(s, nothing), 0.0).sum())
        return words >= _LOOKED_INTO

    # Which units are looked at.

    def _shortlists(self, live: Sequence[int]) -> dict[int, list[int]]:
        """Return each span's units, best first: as many as the budget leaves."""
        order = {s: np.argsort(-self._ranking[s], kind="stable").tolist() for s in live}
        left = self._options.budget * self._length - self.tokens
        for length in range(self._options.shortlist, 1, -1):
            union = {k for s in live for k in order[s][:length]}
            if sum(map(self._cost, union)) <= left:
                break
        else:
            length = min(2, self._options.shortlist)
        return {s: order[s][:length] for s in live}

    def _cost(self, unit: int) -> int:
        """Estimate the tokens that run to look at one unit."""
        group = self._groups[unit]
        without = self._run_length(self._left_out(unit))
        alone = self._run_length(self._alone(group, [unit]))
        return alone + without // 4 if self._is_text(group) else without

    def _run_length(self, keep: np.ndarray) -> int:
        """Tokens of a mask that no cached prefix gives: from the first that is dropped on."""
        units = self._scorer.source_units
        dropped = [at for k in np.flatnonzero(~keep) for at in units[k].positions]
        return self._length - min(dropped) - len(dropped) if dropped else 0

    def _groups_that_matter(
        self, live: Sequence[int], shortlists: dict[int, list[int]]
    ) -> list[tuple[int, int]]:
        wanted = []
        for s in live:
            groups = {self._groups[k] for k in shortlists[s]}
            effects = {group: self._group_effect(s, group) for group in groups}
            floor = max(_GROUP_FLOOR, _GROUP_SHARE * max(effects.values()))
            wanted += [
                (s, group)
                for group, effect in effects.items()
                if effect >= floor or len(effects) == 1
            ]
        return wanted

    # How text and media are decided.

    def _text(self, group: int, on: dict[int, list[int]]) -> dict[int, dict[int, Effect]]:
        self._measure(self._alone(group, [k]) for k in _union(on.values()))
        lost = {s: units for s, units in on.items() if not self._enough(s, group, units)}
        halves = self._by_halves(group, lost)
        tried = {}
        for s, units in on.items():
            units = list(dict.fromkeys([*units, *halves.get(s, ())]))
            back = {k: self._words_given_back(s, group, k) for k in units}
            best = max(back.values())
            alike = [k for k in units if back[k] >= _ALONE_ALIKE * best and back[k] > 0]
            tried[s] = sorted(alike, key=lambda k: -back[k])[:_TRIED] or units[:_TRIED]
        self._measure(self._left_out(k) for k in _union(tried.values()))
        return {s: self._of_text(s, group, units) for s, units in tried.items()}

    def _of_text(self, s: int, group: int, units: Sequence[int]) -> dict[int, Effect]:
        """Return the effects of text units, with the kind of those that support the span."""
        missed = {k: _words(self._drops(s, self._left_out(k))) for k in units}
        back = {k: self._words_given_back(s, group, k) for k in units}
        values = {k: (missed[k] + back[k]) / 2 for k in units}
        best = max(values.values())
        enough = _HALF * _words(self._drops(s, self._alone(group, [])))
        effects = {}
        for k in sorted(units, key=lambda k: -values[k]):
            kind: EffectKind | None = None
            if values[k] > 0 and values[k] >= _TEXT_ALIKE * best:
                if missed[k] >= _HALF * back[k]:
                    kind = "necessary"
                else:
                    kind = "sufficient" if back[k] >= enough else "shared"
            effects[k] = Effect(values[k], kind=kind)
        return effects

    def _medium(self, group: int, on: dict[int, list[int]]) -> dict[int, dict[int, Effect]]:
        self._measure(self._left_out(k) for k in _union(on.values()))
        unmissed = [units for s, units in on.items() if not self._missed(s, units)]
        self._measure(self._alone(group, [k]) for k in _union(unmissed))
        return {s: self._of_medium(s, group, units) for s, units in on.items()}

    def _of_medium(self, s: int, group: int, units: Sequence[int]) -> dict[int, Effect]:
        """Return the effects of a medium's units, with the kind of those that support the span."""
        if self._missed(s, units):
            drops = {k: self._drop(s, self._left_out(k)) for k in units}
            least = _ALIKE * max(drops.values())
            return {
                k: Effect(drop, kind="necessary" if drop >= least else None)
                for k, drop in drops.items()
            }
        back = {k: self._given_back(s, group, [k]) for k in units}
        strongest = max(float(self._ranking[s, k]) for k in units) or 1.0
        weighed = {
            k: max(each, 0.0) * (self._ranking[s, k] / strongest) ** 0.5 for k, each in back.items()
        }
        best = max(weighed.values())
        least = _ALONE_ALIKE * best
        enough = _HALF * self._group_effect(s, group)
        effects = {}
        for k in sorted(units, key=lambda k: -weighed[k]):
            kind: EffectKind | None = None
            if best > 0 and weighed[k] >= least:
                kind = "sufficient" if back[k] >= enough else "shared"
            effects[k] = Effect(back[k], kind=kind)
        return effects

    def _by_halves(self, group: int, lost: dict[int, list[int]]) -> dict[int, list[int]]:
        """Halve a text group until one unit is left, for spans whose shortlist missed it."""
        left = {s: [k for k in range(self._count) if self._groups[k] == group] for s in lost}
        left = {s: units for s, units in left.items() if len(units) > len(lost[s])}
        while any(len(units) > 1 for units in left.values()):
            halves = {s: _halved(units) for s, units in left.items() if len(units) > 1}
            if self.passes >= self._options.budget:
                return {}
            self._measure(self._alone(group, half) for pair in halves.values() for half in pair)
            for s, pair in halves.items():
                left[s] = max(pair, key=lambda half: self._given_back(s, group, half))
        return left

    # What the measured values say.

    def _enough(self, s: int, group: int, units: Sequence[int]) -> bool:
        half = _HALF * self._group_effect(s, group)
        return any(self._given_back(s, group, [k]) >= half for k in units)

    def _missed(self, s: int, units: Iterable[int]) -> bool:
        drops = [self._drop(s, self._left_out(k)) for k in units]
        return max(drops) >= self._options.missed

    def _group_effect(self, s: int, group: int) -> float:
        return self._drop(s, self._alone(group, []))

    def _given_back(self, s: int, group: int, units: Sequence[int]) -> float:
        """Nats that units alone give back of what their group, hidden, costs."""
        return self._group_effect(s, group) - self._drop(s, self._alone(group, units))

    def _words_given_back(self, s: int, group: int, unit: int) -> float:
        """Nats that a unit alone gives back of what single words lose, each above the floor."""
        hidden = self._drops(s, self._alone(group, []))
        return _words(hidden - self._drops(s, self._alone(group, [unit])))

    def _drop(self, s: int, keep: np.ndarray) -> float:
        return float(self._drops(s, keep).sum())

    def _drops(self, s: int, keep: np.ndarray) -> np.ndarray:
        """Return what each token of a span loses under a mask that was measured, ``[tokens]``."""
        inside = slice(self._spans[s].token_start, self._spans[s].token_end)
        drops: np.ndarray = self._full[inside] - self._values[keep.tobytes()][inside]
        return drops

    # Masks, and running them.

    def _is_text(self, group: int) -> bool:
        return self._scorer.modalities[self._groups.index(group)] == "text"

    def _left_out(self, unit: int) -> np.ndarray:
        keep: np.ndarray = np.arange(self._count) != unit
        return keep

    def _alone(self, group: int, units: Sequence[int]) -> np.ndarray:
        """Return the mask that keeps, of a group, only these units."""
        keep: np.ndarray = np.array(self._groups) != group
        keep[list(units)] = True
        return keep

    def _without_groups(self, shortlists: dict[int, list[int]]) -> list[np.ndarray]:
        groups = {self._groups[k] for units in shortlists.values() for k in units}
        return [self._alone(group, []) for group in sorted(groups)]

    def _measure(self, masks: Iterable[np.ndarray]) -> None:
        new = {mask.tobytes(): mask for mask in masks if mask.tobytes() not in self._values}
        if not new:
            return
        effects = measure(
            self._scorer, self._spans, np.stack(list(new.values())), cache=self._cache
        )
        self.tokens += effects.run_tokens
        self._full = effects.full.astype(np.float64)
        self._values |= dict(zip(new, effects.tokens.astype(np.float64), strict=True))


def _groups_of(scorer: ResponseScorer) -> list[int]:
    """Return the number of each unit's group: a medium, or all texts."""
    names = [
        "text"
        if unit.modality == "text"
        else (unit.locator.message, unit.locator.part, unit.modality)
        for unit in scorer.source_units
    ]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def _words(drops: np.ndarray) -> float:
    return float(np.maximum(drops - _WORD, 0.0).sum())


def _union(lists: Iterable[Iterable[int]]) -> list[int]:
    return sorted({k for units in lists for k in units})


def _halved(units: Sequence[int]) -> tuple[list[int], list[int]]:
    middle = len(units) // 2
    return list(units[:middle]), list(units[middle:])
