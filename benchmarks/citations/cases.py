"""The cases: a request with documents, a response, and what each statement of it rests on.

They are built from the documents with a fixed seed, and are always the same. Twenty cases each have
2, 3, 5, 10, 20 and 40 documents; the evidence of the statement that a case is about stands first,
last and in between equally often; half of the cases have a system message.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from citations.documents import Family, Split, read_families

__all__ = ["BERLIN_PARIS", "COUNTS", "KINDS", "Case", "Kind", "Source", "Statement", "cases"]

Kind: TypeAlias = Literal[
    "verbatim", "paraphrased", "two-sources", "invented", "contradicted", "refusal"
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
COUNTS: Final = (2, 3, 5, 10, 20, 40)
SYSTEM: Final = "You answer questions with what the documents say, in short sentences."

_PLACES: Final = ("first", "last", "between")
#: What the cases of one count are about.
_ABOUT: Final[tuple[Kind, ...]] = (
    *("verbatim", "paraphrased") * 6,
    *("two-sources",) * 4,
    *("invented", "contradicted", "refusal", "invented"),
)
#: What is said beside it, if anything.
_BESIDE: Final[tuple[Kind, ...]] = (
    "invented",
    "verbatim",
    "contradicted",
    "paraphrased",
    "refusal",
    "two-sources",
)
_LENGTHS: Final = (1, 2, 1, 3, 2)  # statements of a response


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a response.

    ``evidence`` are the ids of the documents that it rests on, none if it is in no document.
    ``known`` says that a language model knows it, so that it may need no document.
    """

    text: str
    asked: str
    kind: Kind
    evidence: tuple[str, ...]
    known: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A document as a request gives it."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """A request and a response to it."""

    id: str
    documents: tuple[Source, ...]
    statements: tuple[Statement, ...]
    system: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The texts of the documents."""
        return tuple(each.text for each in self.documents)

    @property
    def instruction(self) -> str:
        """The questions."""
        return " ".join(each.asked for each in self.statements)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The request: each document a part with its id, then the questions."""
        content = [
            {"type": "text", "text": each.text, "source_id": each.id} for each in self.documents
        ]
        content.append({"type": "text", "text": self.instruction})
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]

    @property
    def response(self) -> str:
        """The statements, one after the other."""
        return " ".join(each.text for each in self.statements)

    @property
    def evidence(self) -> list[tuple[int, ...]]:
        """For each statement the indices of the documents that it rests on, in the request."""
        place = {each.id: index for index, each in enumerate(self.documents)}
        return [tuple(sorted(place[name] for name in each.evidence)) for each in self.statements]

    def shuffled(self, seed: int) -> Case:
        """Return the same case with its documents in another order."""
        order = list(self.documents)
        rng = random.Random(f"{self.id} {seed}")
        while tuple(order) == self.documents:
            rng.shuffle(order)
        return replace(self, documents=tuple(order))


def cases(split: Split) -> list[Case]:
    """Return the cases of a split, always the same, with few and many documents in turn."""
    return list(_Builder(split, read_families(split)).build())


#: The request of a newcomer that attention cites wrongly; in no split.
BERLIN_PARIS: Final = Case(
    "berlin-paris",
    (
        Source("berlin", "Berlin is the capital of Germany. It lies on the Spree."),
        Source("paris", "Paris is the capital of France."),
    ),
    (
        Statement(
            "Paris is the capital of France.",
            "What is the capital of France?",
            "verbatim",
            ("paris",),
            known=True,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class _Said:
    """A statement with its family, and the ids of the documents that a request with it needs."""

    statement: Statement
    family: str
    needs: tuple[str, ...]


def _statements(family: Family) -> Iterator[_Said]:
    def said(
        text: str, asked: str, kind: Kind, evidence: Sequence[str], needs: Sequence[str] = ()
    ) -> _Said:
        statement = Statement(text, asked, kind, tuple(evidence), family.known and bool(evidence))
        return _Said(statement, family.name, tuple(needs or evidence))

    for each in family.document:
        yield said(each.verbatim, each.asked, "verbatim", [each.id])
        yield said(each.paraphrased, each.asked_otherwise, "paraphrased", [each.id])
    for pair in family.two:
        yield said(pair.statement, pair.asked, "two-sources", pair.documents)
    for made in family.invented:
        kind: Kind = "contradicted" if made.contradicts else "invented"
        yield said(made.statement, made.asked, kind, [], filter(None, [made.contradicts]))
    for refusal in family.refusal:
        yield said(refusal.statement, refusal.asked, "refusal", [])


class _Builder:
    """Deals statements to cases in turn, the longest unused first."""

    def __init__(self, split: Split, families: Sequence[Family]) -> None:
        self._split = split
        self._rng = random.Random(f"citations {split}")
        self._documents: dict[str, Source] = {}
        self._family: dict[str, str] = {}
        for family in families:
            for each in family.document:
                self._documents[each.id] = Source(each.id, each.text)
                self._family[each.id] = family.name
        self._pools: dict[Kind, deque[_Said]] = {kind: deque() for kind in KINDS}
        every = [said for family in families for said in _statements(family)]
        self._rng.shuffle(every)
        for said in every:
            self._pools[said.statement.kind].append(said)

    def build(self) -> Iterator[Case]:
        """Make all cases."""
        beside = itertools.cycle(_BESIDE)
        order = list(_ABOUT)
        self._rng.shuffle(order)
        for number, about in enumerate(order):
            turn = order[:number].count(about)  # of its kind
            for column, count in enumerate(COUNTS):
                kind = "paraphrased" if about == "two-sources" and count == 2 else about
                length = _LENGTHS[(number + column) % len(_LENGTHS)]
                said = self._said(kind, [next(beside) for _ in range(length - 1)], count)
                place = _PLACES[(turn + column) % len(_PLACES)]
                names = self._ordered(said, count, place, number)
                self._rng.shuffle(said)
                yield Case(
                    f"{self._split}-{count}-{number + 1}",
                    tuple(self._documents[name] for name in names),
                    tuple(each.statement for each in said),
                    # Each kind at each place with and without, as evenly as its number allows.
                    SYSTEM if (turn // len(_PLACES) + column) % 2 else None,
                )

    def _said(self, kind: Kind, beside: Sequence[Kind], count: int) -> list[_Said]:
        """Choose the statements of a case, the one that it is about first."""
        about = self._next([kind], lambda said: True)
        chosen = [about]

        def fits(said: _Said) -> bool:
            needs = {name for each in [*chosen, said] for name in each.needs}
            # What is in no document is about the subject of those that are there.
            subject = bool(said.statement.evidence) or said.family == about.family
            # Of two documents that are both needed none distracts.
            room = count - (said.statement.kind == "two-sources")
            return subject and said not in chosen and len(needs) <= room

        for other in beside:  # a refusal needs no document, and there is room for it among two
            chosen.append(self._next([other, "refusal", "invented"], fits))
        return chosen

    def _next(self, kinds: Sequence[Kind], fits: Callable[[_Said], bool]) -> _Said:
        """Take a statement of the first kind that has one."""
        found = next(said for kind in kinds for said in self._pools[kind] if fits(said))
        pool = self._pools[found.statement.kind]
        pool.remove(found)
        pool.append(found)
        return found

    def _ordered(self, said: Sequence[_Said], count: int, place: str, number: int) -> list[str]:
        """Choose and order documents: what is needed, then the family of the first, then others."""
        about = said[0]
        needed = list(dict.fromkeys(name for each in said for name in each.needs))
        rest = [name for name in self._documents if name not in needed]
        self._rng.shuffle(rest)
        rest.sort(key=lambda name: self._family[name] != about.family)
        names = [*needed, *rest][:count]
        if not about.needs:
            self._rng.shuffle(names)
            return names
        lead, others = names[0], names[1:]
        self._rng.shuffle(others)
        between = 1 + number % (count - 2) if count > 2 else number % 2
        others.insert({"first": 0, "last": count - 1, "between": between}[place], lead)
        return others
