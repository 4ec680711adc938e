"""Questions of several steps: what must be looked up is written first, then what follows from it.

========= ===================================== ================================================
category  question                              thoughts and answer
========= ===================================== ================================================
add       What is the sum of A and B?           A is nine. B costs three coins. So nine and three
                                                make twelve. → The sum is twelve.
compare   Which is more, A or B?                A is nine. B costs three coins. So nine is more
                                                than three. → A is more.
odd       How many of A, B and C are odd?       A is nine. B costs three coins. C is four. So
                                                nine and three are odd. → In all, two are odd.
colour    How many things in the image are red? The colour at the top left is red. … So the top
                                                left is red. → In all, one is red.
========= ===================================== ================================================

A thought that looks something up has the evidence of that, a thought that draws a conclusion that
of the things it names, and the answer that of all its thoughts. A value word that a later sentence
repeats has the evidence that it had. Two sums are made of three numbers, one after the other.

No answer can be guessed: half of the numbers of notes (two to nine) and of all other parts (zero to
nine) are odd; which of two is more, and how many things have the colour, a coin decides, among what
the parts offer for each of its sides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Final, get_args

from omnitrace.evaluation.labels.schema import Source
from omnitrace.reference.questions import Reference
from omnitrace.reference.samples import (
    THOUGHT,
    Piece,
    Sentence,
    Statement,
    ThinkingCategory,
    capital,
    said,
    statements_of,
)
from omnitrace.reference.words import COLOURS, NONE, SUMS

__all__ = ["THINKING_CATEGORIES", "Problems"]

THINKING_CATEGORIES: Final[tuple[ThinkingCategory, ...]] = get_args(ThinkingCategory)
"""What can be asked that needs several steps."""

_MOST: Final = 6  # problems of a category that a request can ask for
_TRIES: Final = 3 * _MOST
_COUNTED: Final = 3  # numbers of which the odd ones are counted


class Problem:
    """A question, its thoughts and its answer.

    Parameters
    ----------
    category, question:
        What is asked.
    thoughts:
        The sentences before the answer, in pieces.
    answer:
        The sentence that answers, in pieces.
    """

    def __init__(
        self,
        category: ThinkingCategory,
        question: str,
        thoughts: Iterable[tuple[Piece, ...]],
        answer: tuple[Piece, ...],
    ) -> None:
        self.thoughts = [Sentence(THOUGHT, "", pieces) for pieces in thoughts]
        self.answer = Sentence(category, question, answer)


class Problems:
    """What of several steps can be asked about the parts of a request.

    Parameters
    ----------
    rng:
        Draws.
    found:
        The references to the parts.
    categories:
        Which kinds of questions.
    """

    def __init__(
        self, rng: random.Random, found: Sequence[Reference], categories: Iterable[str]
    ) -> None:
        self.rng = rng
        known = [reference for reference in found if reference.value is not None]
        self.numbers = [reference for reference in known if reference.sort == "number"]
        self.colours = [each for each in known if each.category == "image-colour"]
        draw: dict[ThinkingCategory, Callable[[], list[Problem]]] = {
            "think-add": self._sums,
            "think-compare": self._comparisons,
            "think-odd": self._odd,
            "think-colour": self._coloured,
        }
        # All are drawn, so that what is asked does not depend on what else may be.
        drawn = {category: draw[category]() for category in THINKING_CATEGORIES}
        wanted = set(categories)
        self.pools = {name: pool for name, pool in drawn.items() if pool and name in wanted}

    def pick(self, count: int) -> list[Statement]:
        """Draw so many questions, or all there are, and write the answer.

        Every category is equally likely, as long as it has something to ask.
        """
        chosen: list[Problem] = []
        while len(chosen) < count and self.pools:
            category = self.rng.choice([*self.pools])
            chosen.append(self.pools[category].pop())
            if not self.pools[category]:
                del self.pools[category]
        self.rng.shuffle(chosen)
        thoughts = [thought for problem in chosen for thought in problem.thoughts]
        return statements_of(thoughts, [problem.answer for problem in chosen])

    def _some(self, count: int) -> tuple[Reference, ...] | None:
        """Draw numbers from as many parts as can be, no piece of evidence twice."""
        pool = self.rng.sample(self.numbers, len(self.numbers))
        chosen: list[Reference] = []
        while len(chosen) < count:
            seen = {source for each in chosen for source in each.sources}
            left = [each for each in pool if not seen & {*each.sources}]
            if not left:
                return None
            parts = [each.part for each in chosen]
            # Parts first, or notes, which state most, would make up nearly all.
            fewest = min(parts.count(each.part) for each in left)
            part = self.rng.choice(
                sorted({each.part for each in left if parts.count(each.part) == fewest})
            )
            chosen.append(next(each for each in left if each.part == part))
        return tuple(self.rng.sample(chosen, count))

    def _different(self, counts: Sequence[int]) -> list[tuple[Reference, ...]]:
        """Draw up to six choices of numbers, none of them twice."""
        found: dict[frozenset[Reference], tuple[Reference, ...]] = {}
        for _ in range(_TRIES):
            chosen = self._some(self.rng.choice(counts))
            if chosen is not None and len(found) < _MOST:
                found.setdefault(frozenset(chosen), chosen)
        return list(found.values())

    def _sums(self) -> list[Problem]:
        return [_sum(chosen) for chosen in self._different((2, 2, 3))]

    def _odd(self) -> list[Problem]:
        return [_odd(chosen) for chosen in self._different((_COUNTED,))]

    def _comparisons(self) -> list[Problem]:
        """Draw pairs whose first number is more with a chance of one half, whatever they are of.

        Numbers of notes are larger on average than others: of pairs of both, a coin says whether
        that of the note is. How often it is thrown must not depend on how it fell.
        """
        pairs = [(a, b) for a, b in combinations(self.numbers, 2) if a.value != b.value]
        if len({each.part for each in self.numbers}) > 1:
            pairs = [(a, b) for a, b in pairs if a.part != b.part]
        self.rng.shuffle(pairs)
        alike = [pair for pair in pairs if len({each.unit != "" for each in pair}) == 1]
        mixed = [
            sorted(pair, key=lambda each: not each.unit) for pair in pairs if pair not in alike
        ]
        more = [(note, other) for note, other in mixed if _number(note) > _number(other)]
        less = [(note, other) for note, other in mixed if _number(note) < _number(other)]
        each = min(len(more), len(less), _MOST)
        chosen = [self.rng.choice((more, less)).pop() for _ in range(each)]
        chosen += alike[:_MOST]
        self.rng.shuffle(chosen)
        return [_compare(*self.rng.sample(pair, 2)) for pair in chosen[:_MOST]]

    def _coloured(self) -> list[Problem]:
        """Ask for a colour that none, one or two things have, where there are all three."""
        counts = dict.fromkeys(COLOURS, 0)
        for each in self.colours:
            counts[str(each.value)] += 1
        by_count = [[colour for colour in COLOURS if counts[colour] == n] for n in range(3)]
        if not all(by_count):
            return []
        return [_coloured(self.colours, self.rng.choice(self.rng.choice(by_count)))]


def _number(reference: Reference) -> int:
    return SUMS.index(str(reference.value))


def _sources(references: Iterable[Reference]) -> tuple[Source, ...]:
    return tuple(source for each in references for source in each.sources)


def _looked_up(references: Iterable[Reference]) -> list[tuple[Piece, ...]]:
    return [(*said(reference), (".", None)) for reference in references]


def _value(reference: Reference) -> Piece:
    return str(reference.value), reference.sources


def _name(reference: Reference) -> str:
    """Name what a reference is about: "what the coin costs", "the digit in red"."""
    return f"what {reference.said}" if reference.unit else reference.said.removesuffix(" is")


def _listed(pieces: Sequence[Piece]) -> list[Piece]:
    """Put commas and an "and" between pieces."""
    found: list[Piece] = []
    for left, piece in enumerate(pieces, start=1 - len(pieces)):
        between = {0: " and ", 1 - len(pieces): ""}.get(left, ", ")
        found += [(between, None), piece] if len(found) else [piece]
    return found


def _words(phrases: Sequence[str]) -> str:
    return "".join(piece for piece, _ in _listed([(phrase, None) for phrase in phrases]))


def _sum(chosen: Sequence[Reference]) -> Problem:
    thoughts = _looked_up(chosen)
    total = _value(chosen[0])
    for number, reference in enumerate(chosen[1:], start=2):
        added = total
        word = SUMS[SUMS.index(added[0]) + _number(reference)]
        total = (word, _sources(chosen[:number]))
        thoughts.append(
            (
                ("So ", None),
                added,
                (" and ", None),
                _value(reference),
                (" make ", None),
                total,
                (".", None),
            )
        )
    question = f"What is the sum of {_words([_name(each) for each in chosen])}?"
    return Problem("think-add", question, thoughts, (("The sum is ", None), total, (".", None)))


def _compare(a: Reference, b: Reference) -> Problem:
    is_more = _number(a) > _number(b)
    both = _sources((a, b))
    verdict = (
        ("So ", None),
        _value(a),
        (" is ", None),
        ("more" if is_more else "less", both),
        (" than ", None),
        _value(b),
        (".", None),
    )
    larger = a if is_more else b
    named = capital(larger.said if larger.unit else _name(larger))
    end = " more." if larger.unit else " is more."
    question = f"Which is more, {_name(a)} or {_name(b)}?"
    return Problem(
        "think-compare", question, [*_looked_up((a, b)), verdict], ((named, both), (end, None))
    )


def _count(
    named: Sequence[Piece], everything: tuple[Source, ...], word: str
) -> list[tuple[Piece, ...]]:
    """Write what counts, and how many that are: a thought and the answer."""
    none: list[Piece] = [(NONE, everything)]
    verb = "are" if len(named) > 1 else "is"
    thought = (("So ", None), *(_listed(named) or none), (f" {verb} {word}.", None))
    number = (SUMS[len(named)], everything)
    verb = "is" if len(named) == 1 else "are"
    return [thought, (("In all, ", None), number, (f" {verb} {word}.", None))]


def _odd(chosen: Sequence[Reference]) -> Problem:
    odd = [_value(each) for each in chosen if _number(each) % 2]
    thought, answer = _count(odd, _sources(chosen), "odd")
    question = f"How many of {_words([_name(each) for each in chosen])} are odd?"
    return Problem("think-odd", question, [*_looked_up(chosen), thought], answer)


def _coloured(places: Sequence[Reference], colour: str) -> Problem:
    named: list[Piece] = [
        (each.said.removeprefix("the colour at ").removesuffix(" is"), each.sources)
        for each in places
        if each.value == colour
    ]
    thought, answer = _count(named, _sources(places), colour)
    question = f"How many things in the image are {colour}?"
    return Problem("think-colour", question, [*_looked_up(places), thought], answer)
