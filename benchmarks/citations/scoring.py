"""What is right and wrong in the documents that a method named, and the figures made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from omnitrace.evaluation import Estimate, bootstrap, bootstrap_mean, paired_difference

if TYPE_CHECKING:
    from citations.cases import Case, Kind
    from citations.naming import Naming

__all__ = ["Figures", "Judged", "NonePart", "Place", "judge"]

Place: TypeAlias = Literal["first", "between", "last"]
NonePart: TypeAlias = Literal["precision", "recall", "f1"]

_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """One statement of a case, and what a method named for it.

    Attributes
    ----------
    kind, known, count:
        The statement's, and the number of documents.
    place:
        Where the evidence stands, if it is one document.
    supported:
        Whether any document is evidence.
    named:
        Whether any document was named.
    right:
        Whether the document named first is evidence.
    recall:
        Share of the evidence that was named, None without any.
    bias:
        Where the document named first is wrong: 1 if it is the first of the request, less the
        chance that one drawn among the wrong ones is.
    moved:
        Share of the shuffled requests for which another document was named first, or none.
    """

    kind: Kind
    known: bool
    count: int
    place: Place | None
    supported: bool
    named: bool
    right: bool
    recall: float | None
    bias: float | None
    moved: float | None


def judge(case: Case, naming: Naming, shuffled: Sequence[tuple[Case, Naming]] = ()) -> list[Judged]:
    """Judge what was named for each statement of a case, and of the same case in other orders."""
    count = len(case.documents)
    found = []
    for index, (statement, evidence) in enumerate(zip(case.statements, case.evidence, strict=True)):
        named = naming.documents[index]
        wrong = bool(named) and named[0] not in evidence
        chance = 0.0 if 0 in evidence else 1 / (count - len(evidence))
        first = _first(case, naming, index)
        moved = [_first(other, said, index) != first for other, said in shuffled]
        found.append(
            Judged(
                kind=statement.kind,
                known=statement.known,
                count=count,
                place=_place(evidence[0], count) if len(evidence) == 1 else None,
                supported=bool(evidence),
                named=bool(named),
                right=bool(named) and not wrong,
                recall=len({*evidence} & {*named}) / len(evidence) if evidence else None,
                bias=float(named[0] == 0) - chance if wrong else None,
                moved=sum(moved) / len(moved) if moved else None,
            )
        )
    return found


def _place(index: int, count: int) -> Place:
    if index == 0:
        return "first"
    return "last" if index == count - 1 else "between"


def _first(case: Case, naming: Naming, index: int) -> str | None:
    named = naming.documents[index]
    return case.documents[named[0]].id if named else None


class Figures:
    """The figures of one method, with intervals over cases.

    Parameters
    ----------
    cases:
        What was judged, a list for each case.
    """

    def __init__(self, cases: Sequence[Sequence[Judged]]) -> None:
        self.cases = cases

    def _mean(self, value: Callable[[Judged], float | None]) -> Estimate:
        return bootstrap_mean([[value(each) for each in case] for case in self.cases], seed=_SEED)

    def right(
        self,
        *,
        kinds: Sequence[str] | None = None,
        place: Place | None = None,
        count: int | None = None,
    ) -> Estimate:
        """Share of supported statements whose document named first is evidence.

        Statements that a language model knows are left out: see :meth:`known`.

        Parameters
        ----------
        kinds, place, count:
            Only statements of these kinds, with their evidence there, among so many documents.
        """

        def value(each: Judged) -> float | None:
            wanted = (
                (kinds is None or each.kind in kinds)
                and (place is None or each.place == place)
                and (count is None or each.count == count)
            )
            return _right(each) if wanted else None

        return self._mean(value)

    def better_than(self, other: Figures) -> Estimate:
        """Difference of :meth:`right` on the same statements."""
        first, second = (
            [[_right(each) for each in case] for case in figures.cases] for figures in (self, other)
        )
        return paired_difference(first, second, seed=_SEED)

    def both(self) -> Estimate:
        """Share of the two documents that was named, for statements that need both."""
        return self._mean(
            lambda each: each.recall if each.kind == "two-sources" and not each.known else None
        )

    def known(self) -> Estimate:
        """Share of supported statements that are well known for which no wrong one is first."""
        return self._mean(lambda each: float(each.right or not each.named) if each.known else None)

    def left_empty(self, kind: Kind) -> Estimate:
        """Share of the statements of a kind for which no document was named."""
        return self._mean(lambda each: float(not each.named) if each.kind == kind else None)

    def none(self, part: NonePart) -> Estimate:
        """Precision, recall or F1 of naming no document where none is evidence."""
        counts = np.array([_none_counts(case) for case in self.cases])

        def statistic(drawn: np.ndarray) -> float | None:
            hits, said, wanted = counts[drawn].sum(axis=0)
            over = {"precision": said, "recall": wanted, "f1": (said + wanted) / 2}[part]
            return float(hits / over) if over else None

        return bootstrap(len(counts), statistic, seed=_SEED)

    def bias(self) -> Estimate:
        """How much more often than by chance a wrong document is the first of the request."""
        return self._mean(lambda each: each.bias)

    def moved(self) -> Estimate:
        """Share of statements whose document named first changes with the order."""
        return self._mean(lambda each: each.moved)


def _right(each: Judged) -> float | None:
    return float(each.right) if each.supported and not each.known else None


def _none_counts(case: Sequence[Judged]) -> tuple[int, int, int]:
    """Count right "none", all "none", and statements without evidence."""
    told = [each for each in case if not each.known]  # what is known may need no document
    empty = [each for each in told if not each.named]
    return (
        sum(not each.supported for each in empty),
        len(empty),
        sum(not each.supported for each in told),
    )
