"""Which units to ablate, and what the measured effects say of them.

1. One pass hides all sources. A span none of whose words needs them is done.
2. Units are tried *alone*, all others hidden: what do they give back of what each word lost? That
   is cheap, since what is hidden need not run. Where the budget does not allow to try each, all are
   tried in groups, in which no two stand that the signal scores high for one span. Of a group that
   gives much back units are then tried alone, and it is halved, as long as the budget allows; else
   the unit counts that the signal scores highest.
3. The span's words are covered by as few units as needed: the one that gives back most, then the
   one that gives back most of what is still missing, and so on. Units that give back the same words
   may show the same: they go with it.
4. These are *left out*, one for each span, and several spans' in one pass where none of them needs
   what is left out for another. Where some are missed, the others go. Where none is missed
   much, since one says what another says too, they are left out together, with all of the document
   or medium that the best of them is in.
5. Where much is not explained even so, units may act only together: those of the same document or
   medium are tried beside the one that was found, and count if they are missed; and the units that
   the signal scores highest are left out.

A unit's effect on a word is what it gives back or what is lost without it (or without all that may
say the same), whichever is less. A text model has words that a unit makes likelier and does not
need, and words that suffer from any change of the prompt; few that are both come from nowhere. The
effects on words above a floor add up. Of what media show, little is missed where something else is
there to guess from, and nothing is given back by the way: a unit of theirs has the geometric mean
of this and of what it gives back.

A unit is *necessary* where at least half of what it gives back is lost without it; of the others
one that gives back half of what the span lost is *sufficient*, and what gives back less is
*shared*.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from omnitrace.signals.verified.measured import Measured, in_words
from omnitrace.signals.verified.options import Verify
from omnitrace.signals.verified.parts import Found, Part
from omnitrace.signals.verified.ranking import weights
from omnitrace.signals.verified.sharing import spread
from omnitrace.types import Effect, EffectKind, SpanEffects

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = ["Search"]

# Found on validation samples of the reference world and development cases of benchmarks/citations.
_NEEDED: Final = 0.5  # nats that words must lose without any source for units to be ablated
_ALONE: Final = 0.6  # share of the budget for trying units alone
_GROUPS: Final = 4  # into which units are put at least, where they are not tried alone
_KEPT: Final = 1.0  # passes that trying units alone leaves for leaving them out
_MATTERS: Final = 0.5  # share of what units give back that others must not, to go with them
_MORE: Final = 1.0  # nats of the missing words that a further unit must give back
# The same in texts, which change many words a little, and in media; and the share of what the best
# unit gives back.
_IN_TEXT: Final = (_MORE, 0.15)
_IN_MEDIA: Final = (0.75, 0.05)
_ALIKE: Final = 0.85  # share of what the best unit gives back that makes another one like it
_TRIED: Final = 4  # units that are left out for each part of a span
_PARTS: Final = 3  # units that a span rests on, beside those that are like them
_LEFT: Final = 0.3  # share of what a span lost that is looked into once more
_HALF: Final = 0.5
_UNMISSED: Final = 1 / 3  # share that counts of what a unit gives back that was not left out


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
        modalities = {unit.modality for unit in scorer.source_units}
        budget = options.tokens(int(scorer.embeddings.shape[1]), modalities)
        self.measured = Measured(scorer, spans, budget)
        self._units = scorer.units
        self._homes = [
            (unit.locator.message, unit.locator.part, unit.modality) for unit in scorer.source_units
        ]
        self._ranking = ranking
        self._order: list[list[int]] = np.argsort(-ranking, axis=1, kind="stable").tolist()
        self._weights = weights(ranking)
        self._options = options

    def run(self) -> list[SpanEffects]:
        """Return the effects of the measured units on each span, and each span's total."""
        every = range(len(self.measured.spans))
        self.measured.run([self.measured.only([])])
        hidden = [self.measured.hidden(s) for s in every]
        live = [s for s in every if np.maximum(hidden[s], 0).sum() >= _NEEDED]
        parts = self._parts_of(live)
        self._leave_out(parts)
        found = {s: self._effects(s, each) for s, each in parts.items()}
        self._look_for_pairs(found)
        self._look_for_needed(found)
        return [
            SpanEffects(self._ordered(found.get(s, {})), total=float(hidden[s].sum()))
            for s in every
        ]

    # Which units are looked at.

    def _parts_of(self, live: Sequence[int]) -> dict[int, list[Part]]:
        """Try units alone, or in groups where that is dear; return the parts of each span."""
        every = range(self.measured.count)
        masks = [self.measured.only([k]) for k in every]
        if not live or self.measured.fits(masks, _ALONE):
            self.measured.run(masks if live else [])
        else:
            self._try_groups(live)
        return {s: self._cover(s, every) for s in live}

    def _try_groups(self, live: Sequence[int]) -> None:
        """Try all units in groups, then those alone that the groups which matter hold."""
        measured = self.measured
        sources, rest = int(measured.sizes.sum()), measured.cost(measured.only([]))
        room = (measured.left(_ALONE) - sources) / max(rest, 1)
        number = min(max(int(room), _GROUPS), measured.count)
        measured.show(spread(self._ranking[list(live)], measured.sizes, number))
        found = self._groups_that_matter(live)
        ranks = itertools.zip_longest(*(units[: self._options.shortlist] for units in found))
        inside = [k for rank in ranks for k in rank if k is not None]
        self._spend(measured.only([k]) for k in dict.fromkeys(inside))
        while wide := [units for units in self._groups_that_matter(live) if len(units) > 1]:
            halves = [half for units in wide for half in (units[::2], units[1::2])]
            masks = [measured.only(half) for half in halves]
            if measured.fits(masks, 1.0):
                measured.show(halves)
            if not all(map(measured.knows, masks)):
                break

    def _groups_that_matter(self, live: Sequence[int]) -> list[list[int]]:
        """Return the groups that spans rest on, without what was tried alone, best first."""
        found = {}
        for s in live:
            for part in self._cover(s, range(self.measured.count)):
                group = self.measured.group(part.units[0])
                if not self.measured.alone(part.units[0]):
                    units = [k for k in self._order[s] if k in group and not self.measured.alone(k)]
                    found[tuple(sorted(units))] = units
        return list(found.values())

    def _spend(self, masks: Iterable[np.ndarray]) -> None:
        """Measure masks, the first ones, and leave enough for leaving units out."""
        left = self.measured.left(1.0) - _KEPT * self.measured.length
        costs = itertools.accumulate(map(self.measured.cost, every := list(masks)))
        self.measured.run([mask for mask, cost in zip(every, costs, strict=True) if cost <= left])

    def _cover(self, s: int, units: Sequence[int]) -> list[Part]:
        """Cover the words of a span by units that were tried alone."""
        back = {k: self.measured.given_back(s, [k]) for k in units}
        weight = self._weights[s]
        covered = np.zeros_like(self.measured.hidden(s))
        parts: list[Part] = []
        most = 0.0
        while len(parts) < _PARTS:
            gain = {k: in_words(each - covered) for k, each in back.items()}
            best = max(gain, key=lambda k: gain[k] * weight[k])
            least, share = _IN_TEXT if self._is_text(best) else _IN_MEDIA
            if gain[best] < max(least, share * most):
                break
            most = max(most, gain[best])
            same = {
                k: weight[k] * in_words(np.minimum(each, back[best]) - covered)
                for k, each in back.items()
            }
            alike = [
                k
                for k in same
                if k == best or (self.measured.alone(k) and same[k] >= _ALIKE * same[best])
            ]
            parts.append(Part(tuple(sorted(alike, key=lambda k: -same[k])[:_TRIED])))
            covered = np.maximum(covered, np.max([back[k] for k in alike], axis=0))
        return parts

    # Leaving units out.

    def _leave_out(self, parts: dict[int, list[Part]]) -> None:
        """Leave out the best units, then together what may say the same, then the other units."""
        every = [(s, part) for s, each in parts.items() for part in each]
        if not every:
            return
        first, *others = itertools.zip_longest(*(part.units for _, part in every))
        self._without((s, [k]) for (s, _), k in zip(every, first, strict=True))
        self._without(
            (s, self._with_siblings(part)) for s, part in every if self._may_have_twins(s, part)
        )
        self._without(
            (s, [k])
            for each in others
            for (s, _), k in zip(every, each, strict=True)
            if k is not None
        )

    def _without(self, asked: Iterable[tuple[int, list[int]]]) -> None:
        """Leave units out for spans."""
        new = list(asked)
        self.measured.leave_out(new, lambda i, j: self._apart(new[i], new[j]))

    def _apart(self, one: tuple[int, list[int]], other: tuple[int, list[int]]) -> bool:
        """Say whether what is left out for one span matters to the other, too."""
        return one[1] != other[1] and (
            self._matters(*one, other[1]) or self._matters(*other, one[1])
        )

    def _matters(self, s: int, units: Sequence[int], others: Sequence[int]) -> bool:
        """Say whether other units give back much of what some units do."""
        gain = {
            k: self._weights[s, k] * np.maximum(self.measured.given_back(s, [k]), 0)
            for k in {*units, *others}
        }
        most = np.max([gain[k] for k in units], axis=0)
        return any(
            in_words(np.minimum(gain[k], most)) >= _MATTERS * in_words(most)
            for k in others
            if k not in units
        )

    def _with_siblings(self, part: Part) -> list[int]:
        """Return the units of a part with all of the document or medium of the first of them."""
        home = self._homes[part.units[0]]
        return _union([part.units, (k for k, each in enumerate(self._homes) if each == home)])

    def _may_have_twins(self, s: int, part: Part) -> bool:
        """Say whether the best unit of a part is missed by less than half that it gives back."""
        best = part.units[0]
        missed = in_words(self._both(s, part, best))
        # What was tried beside another must itself be missed.
        return not part.beside and missed < _HALF * in_words(self._back(s, part, best))

    # What the measured values say.

    def _effects(self, s: int, parts: Sequence[Part]) -> dict[int, Found]:
        """Return the effects of the units of all parts."""
        found: dict[int, Found] = {}
        for part in parts:
            for k, each in self._of_part(s, part).items():
                if k not in found or found[k].effect.kind is None:
                    found[k] = each
        return found

    def _of_part(self, s: int, part: Part) -> dict[int, Found]:
        """Return the effects of the units of a part, with a kind where they support the span."""
        together = None
        if self._may_have_twins(s, part):
            together = self.measured.lost(s, self._with_siblings(part))
        missed = {k: float(self._both(s, part, k).sum()) for k in part.units}
        most = max(missed.values())
        found = {}
        for k in part.units:
            supports = most < self._options.missed or missed[k] >= _HALF * most
            words = self._both(s, part, k, together if supports else None)
            value = self._value(s, part, k, words)
            counts = supports and value >= self._options.missed
            kind = self._kind(s, part, k) if counts else None
            found[k] = Found(Effect(value, kind=kind), words)
        return found

    def _both(
        self, s: int, part: Part, unit: int, together: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what a unit gives back and what is lost without it, the less, of each token.

        ``together`` is what is lost without all that may say the same.
        """
        back = self._back(s, part, unit)
        losses = [each for each in (self.measured.lost(s, [unit]), together) if each is not None]
        lost = np.max(losses, axis=0) if losses else np.zeros_like(back)
        both: np.ndarray = np.maximum(np.minimum(back, lost), 0.0)
        return both

    def _value(self, s: int, part: Part, unit: int, words: np.ndarray) -> float:
        """Return a unit's effect in nats."""
        effect, back = in_words(words), in_words(self._back(s, part, unit))
        if not self._is_text(unit):
            effect = math.sqrt(effect * back)
        if part.beside or self.measured.lost(s, [unit]) is not None:
            return effect
        # The budget ended before it was left out.
        return max(effect, _UNMISSED * back)

    def _is_text(self, unit: int) -> bool:
        return self._homes[unit][2] == "text"

    def _back(self, s: int, part: Part, unit: int) -> np.ndarray:
        """Return what a unit gives back of each token, beside what it was tried with."""
        back = self.measured.given_back(s, [*part.beside, unit])
        return back - self.measured.given_back(s, part.beside) if part.beside else back

    def _kind(self, s: int, part: Part, unit: int) -> EffectKind:
        back = in_words(self._back(s, part, unit))
        if in_words(self._both(s, part, unit)) >= _HALF * back:
            return "necessary"
        return "sufficient" if back >= _HALF * in_words(self.measured.hidden(s)) else "shared"

    # Looking again, where much is not explained.

    def _unclear(self, found: dict[int, dict[int, Found]]) -> dict[int, np.ndarray]:
        """Return what is not explained of the spans of which that is much."""
        left = {s: self._not_explained(s, each) for s, each in found.items()}
        return {
            s: each
            for s, each in left.items()
            if in_words(each) >= max(_MORE, _LEFT * in_words(self.measured.hidden(s)))
        }

    def _look_for_pairs(self, found: dict[int, dict[int, Found]]) -> None:
        """Try units beside one that was found, or beside what the signal scores highest."""
        unclear = self._unclear(found)
        pairs = {s: self._pairs(s, found[s]) for s in unclear}
        self.measured.run(self.measured.only(pair) for each in pairs.values() for pair in each)
        parts = {s: self._best_pair(s, each, unclear[s]) for s, each in pairs.items()}
        self._leave_out(parts)
        for s, each in parts.items():
            found[s] |= self._effects(s, each)

    def _pairs(self, s: int, found: dict[int, Found]) -> list[tuple[int, int]]:
        """Return the units that may need each other: of one document or medium."""
        order = self._order[s]
        chosen = [k for k, each in found.items() if each.effect.kind is not None] or order[:1]
        return [
            (beside, k)
            for beside in chosen
            for k in order
            if k not in chosen and self._homes[k] == self._homes[beside]
        ]

    def _best_pair(self, s: int, pairs: Sequence[tuple[int, int]], left: np.ndarray) -> list[Part]:
        """Return the unit that gives back most beside another, or both of them."""
        parts = {pair: Part((pair[1],), (pair[0],)) for pair in pairs}
        gain = {
            pair: in_words(np.minimum(left, self._back(s, part, pair[1])))
            for pair, part in parts.items()
        }
        if not gain or max(gain.values()) < _MORE:
            return []
        beside, k = max(gain, key=lambda pair: gain[pair])
        alone = in_words(self.measured.given_back(s, [beside]))
        other = [] if alone >= _MORE else [Part((beside,), (k,))]
        return [parts[beside, k], *other]

    def _look_for_needed(self, found: dict[int, dict[int, Found]]) -> None:
        """Leave out what the signal scores highest."""
        unclear = self._unclear(found)
        self._without((s, [k]) for s in unclear for k in self._order[s][:_TRIED])
        for s, left in unclear.items():
            for k in self._order[s][:_TRIED]:
                lost = self.measured.lost(s, [k])
                if lost is None or (k in found[s] and found[s][k].effect.kind is not None):
                    continue
                words = np.maximum(np.minimum(left, lost), 0.0)
                both = np.minimum(words, self.measured.given_back(s, [k]))
                needed = in_words(words) >= _HALF * in_words(left)
                if needed or in_words(both) >= _MORE:
                    words = words if needed else both
                    found[s][k] = Found(Effect(in_words(words), kind="necessary"), words)

    def _not_explained(self, s: int, found: dict[int, Found]) -> np.ndarray:
        """Return what each token lost that no supporting unit explains."""
        left = self.measured.hidden(s)
        words = [each.words for each in found.values() if each.effect.kind is not None]
        return left - np.max(words, axis=0) if words else left

    def _ordered(self, found: dict[int, Found]) -> dict[str, Effect]:
        order = sorted(found, key=lambda k: -found[k].effect.value)
        return {self._units[k]: found[k].effect for k in order}


def _union(lists: Iterable[Iterable[int]]) -> list[int]:
    return sorted({k for units in lists for k in units})
